"""Runs killed at any instant, and one resume after each: they end as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from train_jobs import (
    children,
    cleaned_up,
    completed,
    completed_many,
    finish_many,
    kill_all,
    pending,
    same_run,
    saved_steps,
    start,
    start_many,
    stopped,
    wait_until,
)

# The kernel's own kill, so that nothing of the process can tidy up.
KILLS = 50


@pytest.fixture(scope="module")
def whole(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    return completed(two_classes, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def whole_of_two(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole-of-two") / "run"
    completed_many(two_classes, run)
    return run


def partial(run: Path, step: int) -> bool:
    """Tells whether the checkpoint of a step is being written."""
    return any(f"-step-{step:09d}.pt." in path.name for path in (run / "checkpoints").glob(".*.partial"))


def saved(run: Path, step: int) -> bool:
    """Tells whether the checkpoint of a step is there."""
    return any((run / "checkpoints").glob(f"epoch-*-step-{step:09d}.pt"))


def kill_within_a_write(data: Path, run: Path, step: int, moment: float = 0.0) -> bool:
    """Kills a run while the checkpoint of a step is half written; tells whether the kill hit it."""
    process = start(data, run, slow_disk=True)
    wait_until(lambda: partial(run, step), lambda: not process.is_alive())
    time.sleep(moment)
    process.kill()
    process.join()
    return any((run / "checkpoints").glob(".*.partial"))


def kill_somewhere(data: Path, run: Path, dice: random.Random) -> None:
    """Kills a run a moment after one of its checkpoints appeared."""
    process, step = start(data, run), dice.randrange(1, 49)
    wait_until(lambda: saved(run, step), lambda: not process.is_alive())
    time.sleep(dice.random() * 0.05)
    process.kill()
    process.join()


@pytest.mark.soak
def test_fifty_kills_in_training(
    whole: Path, two_classes: Path, tmp_path: Path, evidence: Callable[..., None]
) -> None:
    dice = random.Random(0)
    for number in range(KILLS):
        run = tmp_path / str(number) / "run"
        kill_somewhere(two_classes, run, dice)
        completed(two_classes, run, resume=True)
        assert same_run(whole, run), f"kill {number}"
        shutil.rmtree(run)
    evidence("kills in training, then --resume", n=KILLS, bit_equal=KILLS, lost=0)


@pytest.mark.soak
def test_fifty_kills_in_a_checkpoint(
    whole: Path, two_classes: Path, tmp_path: Path, evidence: Callable[..., None]
) -> None:
    """Kills that come too late for the write are not counted."""
    dice, hits, tries = random.Random(1), 0, 0
    while hits < KILLS:
        run = tmp_path / str(tries) / "run"
        tries += 1
        assert tries < 4 * KILLS, "the writes are never hit"
        hits += kill_within_a_write(two_classes, run, dice.randrange(1, 49), dice.random() * 0.08)
        completed(two_classes, run, resume=True)
        assert same_run(whole, run), f"kill {tries}"
        shutil.rmtree(run)
    evidence("kills while a checkpoint is half written", n=hits, kills=tries, bit_equal=tries, lost=0)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(10))
def test_ten_kills_of_two_processes(
    number: int, whole_of_two: Path, two_classes: Path, tmp_path: Path
) -> None:
    """Launcher and both processes at once, or one process, after which the launcher ends the other."""
    run, dice = tmp_path / "run", random.Random(100 + number)
    step = dice.randrange(1, 48)
    with cleaned_up(start_many(two_classes, run)) as process:
        wait_until(lambda: saved(run, step), lambda: process.poll() is not None)
        time.sleep(dice.random() * 0.05)
        if number % 2:
            kill_all(process)
        elif processes := children(process):
            os.kill(dice.choice(processes), signal.SIGKILL)
            assert finish_many(process)[0] == 1
    completed_many(two_classes, run, "--resume")
    assert same_run(whole_of_two, run)


def test_a_kill_within_a_write(whole: Path, two_classes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # The second one, so that there is a checkpoint to go back to.
    assert kill_within_a_write(two_classes, run, step=2)
    completed(two_classes, run, resume=True)
    assert same_run(whole, run)
    assert not list(run.rglob("*.partial"))


def test_a_kill_between_two_epochs(whole: Path, two_classes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(two_classes, run)
    wait_until(lambda: any((run / "checkpoints").glob("epoch-00002-*.pt")), lambda: not process.is_alive())
    process.kill()
    process.join()
    completed(two_classes, run, resume=True)
    assert same_run(whole, run)


@pytest.mark.slow
def test_sigterm_to_the_launcher_saves_and_ends_all_processes(
    whole_of_two: Path, two_classes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with cleaned_up(start_many(two_classes, run)) as process:
        wait_until(lambda: saved_steps(run) > 0, lambda: process.poll() is not None)
        # Stopped until the signal is there, so that on a busy machine it does not come when all is done.
        pids = children(process)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        # A process that is about to stop still takes other signals.
        wait_until(lambda: all(map(stopped, pids)), lambda: process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        wait_until(
            lambda: all(pending(pid, signal.SIGTERM) for pid in pids), lambda: process.poll() is not None
        )
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        code, out, err = finish_many(process)
    assert code == 0, err
    assert len(pids) == 2
    assert '"stopped": "SIGTERM"' in out
    assert f"go on with: alexnet-fast train --run {run} --resume" in err
    completed_many(two_classes, run, "--resume")
    assert same_run(whole_of_two, run)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_job_with_its_error(two_classes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with cleaned_up(start_many(two_classes, run)) as process:
        wait_until(lambda: saved_steps(run) > 0, lambda: process.poll() is not None)
        os.kill(children(process)[1], signal.SIGKILL)
        code, out, err = finish_many(process)
    assert code == 1
    assert out == ""
    assert "process 1 of 2 was killed by SIGKILL; go on with --resume" in err
    assert "Traceback" not in err
