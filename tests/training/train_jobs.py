"""Training runs in processes of their own, that can be killed, and what they leave behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

# Columns of metrics.csv that are times, and so differ from run to run.
TIMES = ("images_per_second", "seconds", "waiting")


def arguments(data: Path, run: Path, *more: str) -> list[str]:
    """Returns the command of a run of a few seconds: 4 epochs of 12 steps, a checkpoint after each step."""
    options = [
        "--epochs",
        "4",
        "--batch-size",
        "4",
        "--threads",
        "1",
        "--checkpoint-steps",
        "1",
        "--seed",
        "7",
        "--json",
    ]
    return ["train", str(data), "--run", str(run), "--model", "small_net:Net", *options, *more]


def start(command: list[str], *, slow_disk: bool = False) -> subprocess.Popen[str]:
    """Starts a command in a session of its own."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    if slow_disk:
        environment["SMALL_NET_SLOW_DISK"] = "1"
    return subprocess.Popen(
        [sys.executable, "-m", "alexnet_fast", *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Waits for a process; returns its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def completed(command: list[str]) -> dict[str, Any]:
    """Runs a command to its end and returns its JSON."""
    code, out, err = finish(start(command))
    assert code == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for something that a process does, or for the process's end."""
    while process.poll() is None and not condition():
        time.sleep(0.002)


def children(process: subprocess.Popen[str]) -> list[int]:
    """Returns the processes that a launcher has started, by rank."""
    with contextlib.suppress(FileNotFoundError):
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [pid for pid in map(int, listed) if "train_processes" in _command_line(pid)]
    return []


def _command_line(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kills a job's processes at once, as a power cut does."""
    for pid in [process.pid, *children(process)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


def same_run(left: Path, right: Path) -> bool:
    """Tells whether two runs ended alike: weights byte for byte, metrics but for the times, one curve."""
    weights = [(run / "model.safetensors").read_bytes() for run in (left, right)]
    return weights[0] == weights[1] and rows(left) == rows(right) and curve(left) == curve(right)


def rows(run: Path) -> list[dict[str, str]]:
    """Returns metrics.csv without the times."""
    import csv

    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def curve(run: Path) -> list[tuple[int, float]]:
    """Returns the validation loss as TensorBoard draws it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return sorted((event.step, event.value) for event in events.Scalars("loss/val"))


@contextlib.contextmanager
def cleaned_up(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Leaves no process behind, whatever the test does."""
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_all(process)
