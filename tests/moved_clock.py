"""A clock of the day that jumps, for the processes that a test starts: all of their code sees it, C too."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

DAY = 86_400


class MovedClock:
    """Moves the clock of processes that are started with `environment`, also while they run.

    What the kernel itself writes, the times of files, is not moved.

    Args:
        directory: An empty one.
    """

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("c++") or pytest.skip("needs a C++ compiler")
        library, file = directory / "moved_clock.so", directory / "seconds"
        source = Path(__file__).with_suffix(".cpp")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True, timeout=100)
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._seconds = mmap.mmap(opened.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(file)}

    def set(self, seconds: int) -> None:
        """Lets the clock be so many seconds ahead of the true time; behind it where that is negative."""
        self._seconds[:] = struct.pack("=q", seconds)
