"""The folder for cached files."""

from __future__ import annotations

import os
from pathlib import Path

# Hint for a cache that is full or cannot be written.
ROOM = "make room, or set XDG_CACHE_HOME to another disk"


def cache_dir() -> Path:
    """Returns the cache folder, which may be emptied at any time, by the XDG base directories.

    https://specifications.freedesktop.org/basedir-spec/latest/ (relative paths are ignored)
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "alexnet-fast"
