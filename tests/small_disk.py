"""A disk of a few hundred kilobytes, or one that cannot be written: a tmpfs, which root may mount."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def small_disk(directory: Path, kibibytes: int) -> Iterator[Path]:
    """Mounts one for a block."""
    directory.mkdir()
    done = _mount("-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(directory))
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def make_larger(directory: Path, kibibytes: int) -> None:
    """What a user does whose disk was full."""
    assert _mount("-o", f"remount,size={kibibytes}k", str(directory)).returncode == 0


def make_read_only(directory: Path) -> None:
    """What a kernel does with a disk that has errors."""
    assert _mount("-o", "remount,ro", str(directory)).returncode == 0


def refused(words: list[object], reason: str) -> str:
    """Runs a command that the disk must end, in this process; returns the one line that it says.

    It says nothing else, no traceback either, and its exit code is 1.
    """
    from alexnet_fast.cli.main import commands

    done = CliRunner().invoke(commands, [str(word) for word in words])
    assert done.exit_code == 1, done.output
    assert isinstance(done.exception, SystemExit), done.exception
    (line,) = done.stderr.splitlines()
    assert line.startswith("alexnet-fast: ")
    assert reason in line
    return line


def below(directory: Path) -> dict[str, bytes]:
    """Returns every file of a folder, hidden ones too."""
    return {
        str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }
