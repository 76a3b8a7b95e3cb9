"""Killed at any moment and run again, `prepare` ends in the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def source(cells: dict[str, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 real images in two classes, one of them bad."""
    root = tmp_path_factory.mktemp("killed") / "source"
    for kind, files in cells.items():
        (root / kind).mkdir(parents=True)
        for file in files[:60]:
            (root / kind / file.name).symlink_to(file)
    (root / "mono" / "bad.jpg").write_bytes(b"bad")
    return root


@pytest.fixture(scope="module")
def uninterrupted(source: Path, prepare, tree) -> dict[str, str]:
    """What an uninterrupted run makes."""
    out = source.parent / "whole"
    done = prepare(source, out, "--size", 200, "--on-bad-image", "skip")
    assert done.returncode == 0, done.stderr
    return tree(out)


@pytest.mark.parametrize(
    "moments",
    [
        # While images are made.
        pytest.param((20,), id="one"),
        # At the start, while images are made, and while all are there and are looked at and added up.
        pytest.param((0, 0, 1, 20, 45, 70, 95, 120, 120, 120, 120), id="many", marks=pytest.mark.slow),
    ],
)
def test_sigkill_at_any_moment(
    moments: tuple[int, ...],
    source: Path,
    uninterrupted,
    prepare,
    prepare_command: list[str],
    tmp_path: Path,
    tree,
) -> None:
    whole = uninterrupted
    random.seed(0)
    out = tmp_path / "out"
    options = [str(source), str(out), "--workers", "2", "--size", "200", "--on-bad-image", "skip"]
    killed = 0
    for files in moments:
        process = subprocess.Popen(
            [*prepare_command, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        while process.poll() is None and len(list(out.glob("*/*.jpg"))) < files:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.02 if 0 < files < 120 else 0.9))
        process.kill()
        # On a fast machine a run may end before it is killed; some must have been hit for this to be a test.
        killed += process.wait() == -signal.SIGKILL
        for name, digest in tree(out).items() if out.exists() else ():
            if not name.startswith(".preparing/"):
                assert digest == whole[name], f"{name} is half there"
    assert killed >= min(3, len(moments))
    done = prepare(*options)
    assert done.returncode == 0, done.stderr
    assert tree(out) == whole


def test_a_worker_that_is_killed_costs_nothing(
    source: Path, uninterrupted, prepare_command: list[str], tmp_path: Path, tree
) -> None:
    out = tmp_path / "out"
    options = [str(source), str(out), "--workers", "2", "--size", "200", "--on-bad-image", "skip"]
    process = subprocess.Popen(
        [*prepare_command, *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not list(out.glob("*/*.jpg")):
        time.sleep(0.01)
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert tree(out) == uninterrupted


def test_two_runs_at_once_do_not_mix(
    source: Path, prepare, prepare_command: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = [str(source), str(out), "--workers", "2", "--size", "200", "--on-bad-image", "skip"]
    process = subprocess.Popen(
        [*prepare_command, *options], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not list(out.glob("*/*.jpg")):
        time.sleep(0.01)
    # It would else be done before the second has imported what it needs.
    process.send_signal(signal.SIGSTOP)
    second = prepare(*options)
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=60) == 0
    assert second.returncode == 1
    assert "is being filled by another run" in second.stderr
