"""A disk of a few hundred kilobytes, or one that cannot be written: a tmpfs, which root may mount."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


@contextlib.contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """Mounts one for a block."""
    folder.mkdir()
    done = _mount("-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder))
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def make_larger(folder: Path, kibibytes: int) -> None:
    """What a user does whose disk was full."""
    assert _mount("-o", f"remount,size={kibibytes}k", str(folder)).returncode == 0


def make_read_only(folder: Path) -> None:
    """What a kernel does with a disk that has errors."""
    assert _mount("-o", "remount,ro", str(folder)).returncode == 0
