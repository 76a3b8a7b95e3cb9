"""Where things are kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path

# What to do where it is full or cannot be written.
ROOM = "make room, or set XDG_CACHE_HOME to another disk"


def cache_dir() -> Path:
    """Returns the folder that this program may fill and anybody may empty, by the XDG base directories.

    https://specifications.freedesktop.org/basedir-spec/latest/: a relative path there is to be ignored.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "alexnet-fast"
