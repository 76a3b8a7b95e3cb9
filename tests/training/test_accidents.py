"""What goes wrong around a run: full disks, folders that cannot be written, images that go, clocks."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from train_jobs import OPTIONS, completed, same_run, saved_steps, signal_at, start, wait_until

from alexnet_fast.errors import UserError
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.run import train
from alexnet_fast.training.run_dir import open_locked
from small_disk import make_larger, make_read_only, small_disk
from warm_commands import run_command

Make = Callable[..., TrainConfig]
Evidence = Callable[..., None]
DAY = 86_400.0
# A run takes about 690 KiB; each of these is met by another of its files, or by another step's checkpoint.
SIZES = [8, 24, 40, 72, 120, 200, 300, 420, 560, 640]


@pytest.fixture(scope="module")
def whole(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    return completed(two_classes, tmp_path_factory.mktemp("whole") / "run")


def train_command(data: Path, run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Trains as a user does, with the options of `completed`."""
    options = [
        part for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    return run_command("train", data, "--run", run, *options, *more, env=env)


def check_clear(done: subprocess.CompletedProcess[str], reason: str) -> None:
    """The command failed with one sentence."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert reason in done.stderr.splitlines()[-1].lower(), done.stderr


def check_full_disk(data: Path, whole: Path, directory: Path, size: int) -> None:
    """A full disk ends the run with a sentence; with room it goes on, and ends as one never stopped."""
    with small_disk(directory, size) as disk:
        done = train_command(data, disk / "run")
        check_clear(done, "no space left on device")
        assert done.stderr.splitlines()[-1].startswith("alexnet-fast: cannot write")
        assert not list(disk.rglob("*.partial"))
        make_larger(disk, 100_000)
        done = train_command(data, disk / "run", "--resume")
        assert done.returncode == 0, done.stderr
        assert same_run(whole, disk / "run")


@pytest.mark.slow
def test_a_full_disk(two_classes: Path, whole: Path, tmp_path: Path) -> None:
    check_full_disk(two_classes, whole, tmp_path / "disk", SIZES[5])


@pytest.mark.soak
def test_ten_full_disks(two_classes: Path, whole: Path, tmp_path: Path, evidence: Evidence) -> None:
    for size in SIZES:
        check_full_disk(two_classes, whole, tmp_path / str(size), size)
    evidence(
        "full disks in training, then room and --resume", n=len(SIZES), clear=len(SIZES), bit_equal=len(SIZES)
    )


@pytest.mark.slow
def test_a_folder_that_cannot_be_written(
    two_classes: Path, whole: Path, tmp_path: Path, evidence: Evidence
) -> None:
    with small_disk(tmp_path / "disk", 100_000) as disk:
        shutil.copytree(whole, disk / "run")
        make_read_only(disk)
        commands = [
            ("prepare", two_classes / "train", disk / "prepared"),
            ("export", whole, "--output", disk / "exported"),
        ]
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        found = [
            train_command(two_classes, disk / "new"),
            train_command(two_classes, disk / "run", "--resume", "--epochs", "5"),
        ]
        found += [run_command(*words, env=env) for words in commands]
    for done in found:
        check_clear(done, "read-only file system")
    evidence(
        "folders that cannot be written: train, --resume, prepare, export", n=len(found), clear=len(found)
    )


def without_one(two_classes: Path, directory: Path) -> tuple[Path, Path]:
    """Copies the data; returns it, and the last training image of all."""
    data = directory / "data"
    shutil.copytree(two_classes, data, symlinks=True)
    return data, max((data / "train" / "poly").iterdir())


@pytest.mark.parametrize(
    "dali", [pytest.param(True, id="dali"), pytest.param(False, id="pillow", marks=pytest.mark.slow)]
)
def test_an_image_that_goes_in_mid_epoch(
    small: Make, two_classes: Path, tmp_path: Path, dali: bool, evidence: Evidence
) -> None:
    """It is named; under "skip" the run goes on without it."""
    for policy in ("fail", "skip"):
        data, gone = without_one(two_classes, tmp_path / policy)
        options = small(policy, data=data, on_bad_image=policy, dali=dali)

        def remove(progress: Progress, gone: Path = gone) -> None:
            if (progress.epoch, progress.step) == (1, 2):
                gone.unlink()

        if policy == "fail":
            with pytest.raises(UserError, match=f"{gone.name}.*no such file"):
                train(options, on_progress=remove)
        else:
            result = train(options, on_progress=remove)
            assert (result["epochs"], result["bad_images"]) == (3, 1)
            assert str(gone) in (options.run / "log.txt").read_text(encoding="utf-8")
    evidence(f"an image deleted in mid-epoch ({'DALI' if dali else 'Pillow'})", n=2, named=2)


@pytest.mark.slow
def test_two_runs_in_one_folder(two_classes: Path, tmp_path: Path, whole: Path, evidence: Evidence) -> None:
    """The second is told who is there; the first ends as if there had been none."""
    run = tmp_path / "run"
    first = start(two_classes, run, slow_disk=True)
    wait_until(lambda: saved_steps(run) > 0, lambda: not first.is_alive())
    # It would be over before the second has imported what it needs.
    os.kill(first.pid, signal.SIGSTOP)
    refused = [train_command(two_classes, run), train_command(two_classes, run, "--resume")]
    os.kill(first.pid, signal.SIGCONT)
    first.join(200)
    assert first.exitcode == 0
    check_clear(refused[0], f"{run} holds a run already")
    check_clear(refused[1], f"{run} is in use by process {first.pid} on")
    assert same_run(whole, run)
    evidence("a second run in one folder", n=len(refused), refused=len(refused), first_bit_equal=1)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Nobody is there, and nobody is said to be; that a second run would not be refused is said."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    open_locked(tmp_path / ".lock").close()
    assert f"no file of {tmp_path} can be locked: start no second run there" in caplog.text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the wall clock of this process; the monotonic clock goes on, as the kernel's does."""
    real, real_ns, moved = time.time, time.time_ns, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + moved[0])
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(moved[0] * 1e9))

    def move(seconds: float) -> None:
        moved[0] += seconds

    return move


@pytest.mark.parametrize(
    "seconds", [pytest.param(-DAY, id="back"), pytest.param(DAY, id="ahead", marks=pytest.mark.slow)]
)
def test_a_clock_that_jumps_between_two_starts_of_a_run(
    small: Make, clock: Callable[[float], None], seconds: float, evidence: Evidence
) -> None:
    """Which checkpoint is the newest, and what TensorBoard draws, is no matter of the clock."""
    train(small("whole"))
    cut = small("cut", checkpoint_steps=2)
    for stop in (2, 3):
        train(cut, resume=True, on_progress=signal_at(stop, 2))
        clock(seconds)
        _made_at(cut.run, seconds)
    train(cut, resume=True)
    assert same_run(small("whole").run, cut.run)
    evidence(f"clock jumps of {seconds:+.0f} s between starts", n=2, bit_equal=1, one_curve=1)


@pytest.mark.parametrize(
    "seconds", [pytest.param(-DAY, id="back"), pytest.param(DAY, id="ahead", marks=pytest.mark.slow)]
)
def test_a_clock_that_jumps_in_a_run(
    small: Make, clock: Callable[[float], None], seconds: float, evidence: Evidence
) -> None:
    """Times and rates stay what they are, and an interval of minutes neither ends nor grows."""
    jumps = itertools.count()

    def jump(progress: Progress) -> None:
        if progress.step == 3:
            clock(seconds)
            next(jumps)

    train(small("whole"))
    options = small("jumps", checkpoint_minutes=60)
    train(options, on_progress=jump)
    assert same_run(small("whole").run, options.run)
    rows = (options.run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    names = rows[0].split(",")
    for row in rows[1:]:
        values = dict(zip(names, row.split(","), strict=True))
        assert 0 < float(values["seconds"]) < DAY / 24
        assert float(values["images_per_second"]) > 0
    evidence(f"clock jumps of {seconds:+.0f} s in a run", n=next(jumps), bit_equal=1)


def _made_at(run: Path, seconds: float) -> None:
    """Gives every file the time that it would have had; the kernel's own clock cannot be moved here."""
    for file in run.rglob("*"):
        if file.is_file():
            changed = file.stat().st_mtime - seconds
            os.utime(file, (changed, changed))
