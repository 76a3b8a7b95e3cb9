"""Ctrl-C, SIGTERM and SIGHUP to the whole group at many moments of every command, as a terminal sends them.

No traceback of ours or a worker's, an end within seconds, no process left, no half file.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.soak

# Of each command, evenly over its time and a little shaken, so that no moment is always missed.
MOMENTS = 14
# What a busy machine needs to end and to be seen gone; a command that hangs needs for ever.
PATIENCE_S = 60

TRAIN = "train data --model linear --epochs 2 --batch-size 8 --workers 2"
COMMANDS = {
    "scan": "scan data",
    "prepare": "prepare data OUT/p",
    "prepare --shards": "prepare data OUT/p --shards",
    "train": f"{TRAIN} --run OUT/r",
    "train with DALI": f"{TRAIN} --dali --run OUT/r",
    "train in processes": f"{TRAIN} --processes 2 --run OUT/r",
    "evaluate": "evaluate run data",
    "predict": "predict run data/val",
    "features": "features run data/val OUT/f",
    "export": "export run --output OUT/e",
    "serve": "serve exported/model.onnx --http-port 0 --drain-delay 0",
    "show": "show confusion run data --output OUT/c.png",
    "doctor": "doctor",
    "bench input": "bench input data --runs 1 --seconds 0.2",
    "demo": "demo --output OUT/d",
}
# Training saves and ends well at SIGTERM; what a signal comes after ends well, too.
CODES = {0, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP, 130, 143, 129}


def command(words: str, out: Path) -> list[str]:
    """Returns the words of a command."""
    return [sys.executable, "-m", "alexnet_fast", *words.replace("OUT", str(out)).split()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, a run and an exported file."""
    root = tmp_path_factory.mktemp("signals")
    for part, count in (("train", 40), ("val", 8)):
        for name, colour in (("ant", 60), ("bee", 190)):
            (root / "data" / part / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (72, 72), (colour, number, 255 - colour))
                image.save(root / "data" / part / name / f"{number}.jpg")
    for words in (f"{TRAIN} --run run", "export run --output exported"):
        subprocess.run(command(words, root), cwd=root, check=True, timeout=300, capture_output=True)
    return root


def in_group(number: int) -> list[str]:
    """Returns the command lines of the processes of a group that are not over."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and os.getpgid(int(entry.name)) == number:
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z":
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
        except OSError:  # noqa: PERF203 - each may end meanwhile
            continue
    return found


def half_files(directory: Path) -> Iterator[Path]:
    """Yields what is neither whole nor a folder in which `prepare` goes on."""
    for path in directory.rglob("*"):
        if path.name.endswith(".partial") or path.name.startswith(".export-"):
            yield path


def interrupt(words: list[str], cwd: Path, after: float, number: int, again: float | None) -> tuple[int, str]:
    """Sends the signal to the group of a command, which must be gone soon; returns code and words."""
    process = subprocess.Popen(
        words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        for wait in (after, again):
            if wait is not None:
                time.sleep(wait)
                if process.poll() is None:
                    os.killpg(process.pid, number)
        said = process.communicate(timeout=PATIENCE_S)[0].decode(errors="replace")
        end = time.monotonic() + PATIENCE_S
        while (left := in_group(process.pid)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not left
    finally:
        if in_group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_moment(name: str, place: Path, tmp_path: Path, evidence: Callable[..., None]) -> None:
    begun = time.monotonic()
    with subprocess.Popen(
        command(COMMANDS[name], tmp_path / "whole"),
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as whole:
        try:
            whole.wait(60 if name in ("serve", "demo") else 300)
        except subprocess.TimeoutExpired:
            os.killpg(whole.pid, signal.SIGKILL)
    lasted = min(time.monotonic() - begun, 15.0 if name == "serve" else 60.0)
    draw, codes = random.Random(name), Counter[int]()
    for moment in range(MOMENTS):
        number = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[moment % 4]
        # From after the interpreter's own start, which nothing in a package can guard.
        after = 0.4 + (lasted - 0.4) * (moment + draw.random()) / MOMENTS
        again = 0.5 if moment % 4 == 1 else None
        out = tmp_path / str(moment)
        out.mkdir()
        code, said = interrupt(command(COMMANDS[name], out), place, after, number, again)
        assert "Traceback" not in said, (number, after, said)
        assert "leaked" not in said, (number, after, said)
        assert code in CODES, (number, after, code, said)
        if again is None:
            assert list(half_files(out)) == []
        codes[code] += 1
    assert list(half_files(place)) == []
    evidence(f"signals to {name}", n=MOMENTS, codes=dict(codes))
