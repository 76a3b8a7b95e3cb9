"""Cached files that are used only if they are intact: the SHA-256, then the bytes."""

from __future__ import annotations

import hashlib
import logging
import os
from typing import TYPE_CHECKING

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.atomic import atomic_file, make_dir

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST = hashlib.sha256().digest_size
# The coarsest time step of a file system (FAT).
_TICK_NS = 2_000_000_000

_log = logging.getLogger(__name__)


def load_kept(path: Path) -> memoryview | None:
    """Returns the bytes that `save_kept` wrote; None if there are none, or with a warning if damaged."""
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("%s cannot be read and is not used: %s", path, system_reason(error))
        return None
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        _log.warning("%s is damaged and is made again", path)
        return None
    _make_newest(path)
    return content[_DIGEST:]


def save_kept(path: Path, *parts: bytes | memoryview) -> bool:
    """Caches bytes atomically; returns whether it could, with a warning if not."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    try:
        make_dir(path.parent)
        with atomic_file(path) as file:
            for part in (digest.digest(), *parts):
                file.write(part)
    except UserError as error:
        _log.warning("%s is not kept: %s", path.name, error)
        return False
    _make_newest(path)
    return True


def _make_newest(path: Path) -> None:
    """Gives a file a later time than all others in its folder, since the oldest files are removed first.

    Their times may lie in the future, if the clock was set back since.
    """
    try:
        os.utime(path)
        others = (other.stat().st_mtime_ns for other in path.parent.iterdir() if other != path)
        latest = max(others, default=0)
        if latest >= path.stat().st_mtime_ns:
            os.utime(path, ns=(latest + _TICK_NS, latest + _TICK_NS))
    except OSError:
        # A folder of another user can still be read.
        _log.debug("the time of %s cannot be changed", path)
