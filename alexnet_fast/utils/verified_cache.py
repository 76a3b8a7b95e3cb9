"""A file in the cache folder that is used only if it is as it was written: its SHA-256, then the bytes."""

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
# The coarsest tick of a file system (FAT): one later is later everywhere.
_TICK_NS = 2_000_000_000

_log = logging.getLogger(__name__)


def load_kept(path: Path) -> memoryview | None:
    """Returns what `save_kept` wrote; None where there is nothing, or it is damaged, which is said."""
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
    """Keeps bytes, whole or not at all; returns whether it could, and says why not."""
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
    """Gives a file a later time than all others in its folder: who makes room removes what is oldest.

    They may be of the future, where the clock was set back since they were used.
    """
    try:
        os.utime(path)
        others = (other.stat().st_mtime_ns for other in path.parent.iterdir() if other != path)
        latest = max(others, default=0)
        if latest >= path.stat().st_mtime_ns:
            os.utime(path, ns=(latest + _TICK_NS, latest + _TICK_NS))
    except OSError:
        # Somebody else's folder may be read all the same.
        _log.debug("the time of %s cannot be changed", path)
