"""A task that kills, hangs or starves its worker is named; all others are done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.scan.inspect import ImageReport, examine
from alexnet_fast.scan.listing import list_for_scan
from alexnet_fast.scan.scan import scan_dir
from alexnet_fast.scan.worker_pool import TaskFailed, run_tasks


def perform(task: str) -> str:
    """Does what its task says; runs in a worker."""
    if task == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "out of memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "hang":
        time.sleep(1000)
    if task == "starve":
        bytearray(64 << 30)
    if task == "exit":
        os._exit(3)
    if task == "raise":
        raise RuntimeError("two\nlines")
    if task == "disk full":
        raise UserError("cannot write x", "free space", exit_code=1)
    return task.upper()


def killed_once(task: str) -> str:
    """Is killed from outside at its first try; runs in a worker."""
    marker = Path(task)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def crash_on_bad_names(path: str) -> ImageReport:
    """Examines a file as `scan` does; one whose name says so kills its worker."""
    if "killer" in path:
        os.kill(os.getpid(), signal.SIGSEGV)
    return examine(path)


def test_hostile_tasks_cost_themselves_alone() -> None:
    hostile = {
        "segfault": "the decoder crashed (SIGSEGV)",
        "out of memory": "the decoder was killed (SIGKILL), most often for want of memory",
        "hang": "took longer than 1 s",
        "starve": "needs more than 4 GiB of memory",
        "exit": "the decoder ended its process (exit code 3)",
        "raise": "two lines",
    }
    good = [f"task {number}" for number in range(40)]
    tasks = good[:]
    for position, task in enumerate(hostile):
        tasks.insert(position * 6 + 1, task)
    results = dict(run_tasks(perform, tasks, workers=2, seconds=1.0))
    assert len(results) == len(tasks)
    assert {task: results[task] for task in hostile} == {
        t: TaskFailed(reason) for t, reason in hostile.items()
    }
    assert all(results[task] == task.upper() for task in good)


def test_one_death_may_be_an_accident(tmp_path: Path) -> None:
    task = str(tmp_path / "tried")
    assert list(run_tasks(killed_once, [task], workers=1, seconds=30)) == [(task, "done")]


def test_an_error_of_the_user_ends_the_work() -> None:
    with pytest.raises(UserError, match="cannot write x; free space") as caught:
        list(run_tasks(perform, ["a", "disk full"], workers=1, seconds=30))
    assert caught.value.problem == "cannot write x"
    with pytest.raises(UserError, match="--workers 0"):
        list(run_tasks(perform, ["a"], workers=0, seconds=30))


def test_an_image_that_kills_its_worker_is_named_bad(tmp_path: Path, photographs) -> None:
    for name in ("a.jpg", "killer.jpg", "z.jpg"):
        photographs[0].resize((60, 40)).save(tmp_path / name)
    names = list_for_scan(tmp_path)
    report = scan_dir(tmp_path, names, workers=2, seconds=30, look=crash_on_bad_names)
    assert report.bad == (("killer.jpg", "the decoder crashed (SIGSEGV)"),)
    assert report.images == 3


def test_the_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_worker_pool import perform\n"
        "from alexnet_fast.scan.worker_pool import run_tasks\n"
        "from multiprocessing import active_children\n"
        "if __name__ == '__main__':\n"
        "    results = run_tasks(perform, ['a'] * 100_000, workers=2, seconds=30)\n"
        "    next(results)\n"
        "    print(*[child.pid for child in active_children()], flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    limit = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/stat").exists() and _lives(pid) for pid in pids):
        assert time.monotonic() < limit
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    """Tells whether a process runs; one that nobody has waited for does not."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
