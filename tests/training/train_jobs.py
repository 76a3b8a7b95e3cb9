"""Training runs in processes of their own, that can be killed, and what they leave behind."""

from __future__ import annotations

import contextlib
import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from alexnet_fast.training.console import Progress

HERE = Path(__file__).parent

# Columns of metrics.csv that are times, and so differ from run to run.
TIMES = ("images_per_second", "seconds", "data_wait")

# Runs of a few seconds: 4 epochs of 12 steps, a checkpoint after each step.
OPTIONS: dict[str, Any] = {
    "model": "small_net:Net",
    "epochs": 4,
    "batch_size": 4,
    "workers": 1,
    "checkpoint_steps": 1,
    "seed": 7,
}

_CONTEXT = multiprocessing.get_context("forkserver")


def signal_at(epoch: int, step: int, number: int = signal.SIGTERM) -> Callable[[Progress], None]:
    """Returns a progress display that sends this process a signal once."""

    def show(progress: Progress) -> None:
        if progress.phase == "training" and (progress.epoch, progress.step) == (epoch, step):
            os.kill(os.getpid(), number)

    return show


def start(
    data: Path, run: Path, *, resume: bool = False, slow_disk: bool = False, **options: Any
) -> ForkServerProcess:
    """Starts a run of one process.

    Args:
        data: The images.
        run: The run's folder.
        resume: Whether it goes on.
        slow_disk: Makes flushing a file take a moment, so that a kill can hit the middle of a write.
        options: Besides `OPTIONS`.
    """
    process = _CONTEXT.Process(target=_train, args=(data, run, resume, slow_disk, options))
    process.start()
    return process


def _train(data: Path, run: Path, resume: bool, slow_disk: bool, options: dict[str, Any]) -> None:
    """What such a process does."""
    import torch

    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.run import train

    torch.set_num_threads(1)
    if slow_disk:
        fsync = os.fsync
        os.fsync = lambda file: (time.sleep(0.05), fsync(file), time.sleep(0.05))
    train(TrainConfig(data=data, run=run, **{**OPTIONS, **options}), resume=resume)


def completed(data: Path, run: Path, *, resume: bool = False) -> Path:
    """Trains to the end and returns the run's folder."""
    process = start(data, run, resume=resume)
    process.join(200)
    assert process.exitcode == 0
    return run


def start_many(data: Path, run: Path, *more: str) -> subprocess.Popen[str]:
    """Starts a run of two processes by the command line."""
    options = [
        part for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    command = ["train", str(data), "--run", str(run), *options, "--processes", "2", "--json", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "alexnet_fast", *command],
        env={**os.environ, "PYTHONPATH": f"{HERE / 'deadly_decoders'}:{HERE}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish_many(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Waits for a command; returns its exit code, stdout and stderr."""
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def completed_many(data: Path, run: Path, *more: str) -> dict[str, Any]:
    """Trains in two processes to the end and returns the command's JSON."""
    code, out, err = finish_many(start_many(data, run, *more))
    assert code == 0, err
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def wait_until(condition: Callable[[], bool], over: Callable[[], bool]) -> None:
    """Waits for something that a process does, or for the process's end."""
    while not condition() and not over():
        time.sleep(0.002)


def saved_steps(run: Path) -> int:
    """Returns how many checkpoints of a run are there."""
    return len(list((run / "checkpoints").glob("epoch-*.pt")))


def children(process: subprocess.Popen[str]) -> list[int]:
    """Returns the processes that a launcher has started, by rank."""
    with contextlib.suppress(FileNotFoundError):
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [pid for pid in map(int, listed) if "distributed.launcher" in _command_line(pid)]
    return []


def stopped(pid: int) -> bool:
    """Tells whether a process has been stopped by SIGSTOP."""
    return _status(pid)["State"].startswith("T")


def pending(pid: int, number: signal.Signals) -> bool:
    """Tells whether a signal waits for a stopped process."""
    return bool(int(_status(pid)["ShdPnd"], 16) >> (number - 1) & 1)


def _status(pid: int) -> dict[str, str]:
    """Returns what proc(5) says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def _command_line(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kills a launcher and its processes at once, as a power cut does."""
    for pid in [process.pid, *children(process)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()


@contextlib.contextmanager
def cleaned_up(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Leaves no process behind, whatever the test does."""
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_all(process)


def same_run(left: Path, right: Path) -> bool:
    """Tells whether two runs ended alike: weights byte for byte, metrics but for the times, one curve."""
    weights = [(run / "model.safetensors").read_bytes() for run in (left, right)]
    return weights[0] == weights[1] and rows(left) == rows(right) and curve(left) == curve(right)


def rows(run: Path) -> list[dict[str, str]]:
    """Returns metrics.csv without the times."""
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def curve(run: Path) -> list[tuple[int, float]]:
    """Returns the validation loss as TensorBoard draws it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return sorted((event.step, event.value) for event in events.Scalars("loss/val"))
