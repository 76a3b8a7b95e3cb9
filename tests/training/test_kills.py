"""Runs killed at any instant, and one resume after each: they end as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from train_jobs import (
    arguments,
    children,
    cleaned_up,
    completed,
    finish,
    kill_all,
    same_run,
    start,
    wait_until,
)

# 50 kills of one process, half of them inside a write; 10 of two processes.
PIECES, KILLS_A_PIECE = 10, 5


@pytest.fixture(scope="module")
def whole(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole") / "run"
    completed(arguments(two_classes, run))
    return run


@pytest.fixture(scope="module")
def whole_of_two(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nobody disturbed."""
    run = tmp_path_factory.mktemp("whole-of-two") / "run"
    completed(arguments(two_classes, run, "--processes", "2"))
    return run


def kill_within_a_write(data: Path, run: Path, dice: random.Random) -> bool:
    """Kills a run while a checkpoint is half written; tells whether there was one."""
    checkpoints, wanted = run / "checkpoints", dice.randrange(40)
    with cleaned_up(start(arguments(data, run), slow_disk=True)) as process:
        wait_until(
            lambda: any(f"-step-{wanted:09d}.pt." in p.name for p in checkpoints.glob(".*.partial")), process
        )
        time.sleep(dice.random() * 0.1)
        kill_all(process)
    return any(checkpoints.glob(".*.partial"))


def kill_somewhere(data: Path, run: Path, dice: random.Random, *more: str) -> None:
    """Kills a run a moment after one of its checkpoints appeared, or before the first."""
    wanted = dice.randrange(48)
    with cleaned_up(start(arguments(data, run, *more))) as process:
        wait_until(lambda: any((run / "checkpoints").glob(f"*-step-{wanted:09d}.pt")), process)
        time.sleep(dice.random() * 0.05)
        kill_all(process)


@pytest.mark.soak
@pytest.mark.parametrize("piece", range(PIECES))
def test_fifty_kills_of_one_process(piece: int, whole: Path, two_classes: Path, tmp_path: Path) -> None:
    dice = random.Random(piece)
    in_write = 0
    for number in range(KILLS_A_PIECE):
        run = tmp_path / str(number) / "run"
        if number % 2:
            kill_somewhere(two_classes, run, dice)
        else:
            in_write += kill_within_a_write(two_classes, run, dice)
        result = completed(arguments(two_classes, run, "--resume"))
        print(f"kill {piece}.{number}: resumed from {result['resumed_from']}")
        assert same_run(whole, run), f"kill {number} of piece {piece}"
    assert in_write, "none of the kills hit a write"


@pytest.mark.soak
@pytest.mark.parametrize("number", range(10))
def test_ten_kills_of_two_processes(
    number: int, whole_of_two: Path, two_classes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    kill_somewhere(two_classes, run, random.Random(100 + number), "--processes", "2")
    completed(arguments(two_classes, run, "--resume", "--processes", "2"))
    assert same_run(whole_of_two, run)


def test_a_kill_within_a_write(whole: Path, two_classes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    checkpoints = run / "checkpoints"
    with cleaned_up(start(arguments(two_classes, run), slow_disk=True)) as process:
        # The second one, so that there is a checkpoint to go back to.
        wait_until(
            lambda: any("-step-000000002.pt." in p.name for p in checkpoints.glob(".*.partial")), process
        )
        kill_all(process)
    assert list(checkpoints.glob(".*.partial")), "the kill hit the write"
    assert completed(arguments(two_classes, run, "--resume"))["resumed_from"] == 0
    assert same_run(whole, run)
    assert not list(run.rglob("*.partial"))


def test_sigterm_to_the_launcher_saves_and_ends_all_processes(
    whole_of_two: Path, two_classes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = arguments(two_classes, run, "--processes", "2")
    with cleaned_up(start(command)) as process:
        wait_until(lambda: any((run / "checkpoints").glob("epoch-*.pt")), process)
        process.send_signal(signal.SIGTERM)
        code, out, err = finish(process)
    assert code == 0, err
    assert '"stopped": "SIGTERM"' in out
    assert f"go on with: alexnet-fast train --run {run} --resume" in err
    completed([*command, "--resume"])
    assert same_run(whole_of_two, run)


def test_a_process_that_dies_ends_the_job_with_its_error(two_classes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with cleaned_up(start(arguments(two_classes, run, "--processes", "2"))) as process:
        wait_until(lambda: any((run / "checkpoints").glob("epoch-*.pt")), process)
        os.kill(children(process)[1], signal.SIGKILL)
        code, out, err = finish(process)
    assert code == 1
    assert out == ""
    assert "process 1 of 2 was killed by SIGKILL; go on with --resume" in err
    assert "Traceback" not in err
