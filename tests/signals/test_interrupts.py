"""The first signal is raised, a second one and a term end the process; no half file, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

START = """
import os, signal, sys, threading, time
from pathlib import Path
from alexnet_fast.utils import interrupts
from alexnet_fast.utils.atomic import atomic_file
from alexnet_fast.utils.interrupts import Interrupted, gone_at_the_end, interruptible, starting_processes
from alexnet_fast.utils.streams import prepare_streams

interrupts._SECONDS_TO_END, interrupts._SECONDS_TO_WRITE = 1.0, 2.0

def begun():
    print("begun", flush=True)

def ended(work):
    prepare_streams()
    try:
        with interruptible():
            work()
    except Interrupted as error:
        print("ended", error.number, flush=True)
        sys.exit(128 + error.number)
"""


def begin(work: str, directory: Path, *before: str) -> subprocess.Popen[str]:
    """Starts a program of the function `work` in a group of its own, and waits until it says that it runs."""
    command = [*before, sys.executable, "-c", f"{START}\n{work}\nended(work)"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=directory,
    )
    assert process.stdout
    assert process.stdout.readline() == "begun\n", process.communicate()
    return process


def end(process: subprocess.Popen[str], number: int = signal.SIGINT, times: int = 1) -> tuple[str, str]:
    """Sends a signal to the group, as a terminal does; returns what was said since, of both streams."""
    for _ in range(times):
        os.killpg(process.pid, number)
        time.sleep(0.6 if times > 1 else 0)
    said = process.communicate(timeout=60)
    assert "Traceback" not in said[1]
    return said


SWALLOWS = """
def work():
    while True:
        try:
            begun()
            time.sleep(60)
        except BaseException:
            pass
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -1)]
)
def test_a_signal_unwinds_running_work(tmp_path: Path, number: int, code: int) -> None:
    work = """
def work():
    with atomic_file(Path("whole")) as file:
        file.write(b"some")
        begun()
        time.sleep(60)
"""
    process = begin(work, tmp_path)
    assert end(process, number) == (f"ended {number}\n", "")
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_a_swallowed_signal_takes_effect_after_a_timeout(tmp_path: Path) -> None:
    process = begin(SWALLOWS, tmp_path)
    assert end(process)[1] == "alexnet-fast: interrupted\n"
    assert process.returncode == 130


def test_a_signal_that_does_not_wake_the_main_thread_takes_effect_soon(tmp_path: Path) -> None:
    """As one that comes just before it begins to wait."""
    work = """
import _thread
interrupts._SECONDS_TO_END = 60.0

def work():
    threading.Timer(0.2, _thread.interrupt_main).start()
    begun()
    time.sleep(60)
"""
    process = begin(work, tmp_path)
    assert process.communicate(timeout=30) == ("ended 2\n", "")
    assert process.returncode == 130


def test_a_second_signal_ends_at_once_and_removes_unfinished_files(tmp_path: Path) -> None:
    work = """
interrupts._SECONDS_TO_END = interrupts._SECONDS_TO_WRITE = 60.0

def work():
    with atomic_file(Path("whole")) as file, gone_at_the_end(Path("folder")):
        Path("folder").mkdir()
        Path("folder", "file").touch()
        while True:
            try:
                begun()
                time.sleep(60)
            except BaseException:
                pass
"""
    process = begin(work, tmp_path)
    begun = time.monotonic()
    assert end(process, times=2)[1] == "alexnet-fast: interrupted\n"
    assert process.returncode == 130
    assert time.monotonic() - begun < 30
    assert list(tmp_path.iterdir()) == []


def test_a_repeat_of_the_first_signal_is_not_a_second(tmp_path: Path) -> None:
    """`timeout` signals its child, and then the whole group."""
    work = """
def work():
    try:
        begun()
        time.sleep(60)
    finally:
        time.sleep(0.5)
        Path("put away").touch()
"""
    process = begin(work, tmp_path)
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.1)
    end(process, signal.SIGTERM)
    assert (tmp_path / "put away").exists()


@pytest.mark.parametrize(
    "loses",
    [
        "class It:\n    def __del__(self):\n        begun()\n        time.sleep(60)\nlost = lambda: It()",
        "import weakref\nclass It: pass\ndef wait():\n    begun()\n    time.sleep(60)\n"
        "def lost():\n    it = It()\n    weakref.finalize(it, wait)",
    ],
    ids=["destructor", "finalizer"],
)
def test_a_signal_lost_in_a_destructor_is_raised_again(tmp_path: Path, loses: str) -> None:
    work = f"""
interrupts._SECONDS_TO_END = 60.0
{loses}
def work():
    lost()
    time.sleep(60)
"""
    process = begin(work, tmp_path)
    assert end(process) == ("ended 2\n", "")


def test_a_signal_during_an_import_does_not_look_like_a_missing_library(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nprint('begun', flush=True)\n"
        "try: time.sleep(60)\nexcept BaseException as error: raise ImportError('no library') from error"
    )
    work = """
def work():
    sys.path.insert(0, "")
    try:
        import slow
    except ImportError:
        print("a library is missing", flush=True)
        time.sleep(60)
"""
    process = begin(work, tmp_path)
    assert end(process) == ("", "alexnet-fast: interrupted\n")
    assert process.returncode == 130


def test_a_signal_turned_into_another_exception_is_still_an_interruption(tmp_path: Path) -> None:
    work = """
def work():
    try:
        begun()
        time.sleep(60)
    except BaseException as error:
        raise RuntimeError("of a library") from error
"""
    assert end(begin(work, tmp_path)) == ("ended 2\n", "")


def test_a_thread_that_fails_after_a_signal_is_silent(tmp_path: Path) -> None:
    work = """
def fail(over):
    over.wait()
    raise RuntimeError("the queue is closed")

def work():
    over = threading.Event()
    thread = threading.Thread(target=fail, args=(over,))
    thread.start()
    try:
        begun()
        time.sleep(60)
    finally:
        over.set()
        thread.join()
"""
    assert end(begin(work, tmp_path)) == ("ended 2\n", "")


def test_a_signal_ignored_at_the_start_stays_ignored(tmp_path: Path) -> None:
    work = "def work():\n    begun()\n    time.sleep(2)"
    process = begin(work, tmp_path, "nohup")
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(60) == 0


def test_after_the_work_a_signal_ends_the_process_silently(tmp_path: Path) -> None:
    work = """
import atexit
atexit.register(lambda: (begun(), time.sleep(60)))
def work(): pass
"""
    process = begin(work, tmp_path)
    end(process)
    assert process.returncode == -signal.SIGINT


def test_processes_start_completely_and_with_signals_blocked(tmp_path: Path) -> None:
    """Each of ten is in another moment of its start; what it says would be in a traceback."""
    (tmp_path / "child.py").write_text("import time\ndef run(pipe):\n    pipe.recv()")
    work = """
import multiprocessing
import child
# Whoever reads from one that is closed would say so.
pipes = []
def work():
    context = multiprocessing.get_context("spawn")
    begun()
    for number in range(10):
        ours, theirs = context.Pipe()
        process = context.Process(target=child.run, args=(theirs,), daemon=True)
        with starting_processes():
            process.start()
            if number == 4:
                os.killpg(0, signal.SIGINT)
                time.sleep(0.3)
        pipes.append((ours, theirs))
        time.sleep(0.05)
    raise AssertionError("not interrupted")
"""
    script = tmp_path / "script.py"
    script.write_text(f"{START}\n{work}\nif __name__ == '__main__':\n    ended(work)")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("begun\nended 2\n", "")
    assert done.returncode == 130
