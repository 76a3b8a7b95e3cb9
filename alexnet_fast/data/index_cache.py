"""Long lists of images, cached in the user's cache folder and checked against the folders that they list.

Walking through a million files takes many seconds. A cached list is used if every folder that was walked (and
every tar that was read) still has the same modification time, size and inode. So files that were added,
removed or renamed are noticed; a file whose content was changed in place is not, and need not be: the list
does not depend on contents.

By hand: no library caches listings by the modification time of many directories.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_fast.data.image_list import StringArray
from alexnet_fast.errors import UserError
from alexnet_fast.utils.atomic import atomic_file, make_dir
from alexnet_fast.utils.cache_dir import cache_dir

Arrays = dict[str, np.ndarray[Any, Any]]

# Shorter lists are quick to make.
WORTH_KEEPING = 10_000
# 2: with the counts of ignored entries, and longer extensions; 3 and 4: other names of arrays.
_FORMAT = 4
# A folder that changed within one clock tick of being listed could change again and look the same; two
# seconds are the coarsest tick of a file system (FAT).
_TICK_NS = 2_000_000_000

_SECONDS_OF_SILENCE = 2.0

_log = logging.getLogger("alexnet_fast")


class SlowNotice:
    """Logs a message, once, if the work takes longer than a moment.

    Args:
        message: Description of the work.
    """

    def __init__(self, message: str) -> None:
        self._message: str | None = message
        self._until = time.monotonic() + _SECONDS_OF_SILENCE

    def tick(self) -> None:
        """Logs the message if it is time; to be called now and then during the work."""
        if self._message and time.monotonic() > self._until:
            _log.warning("%s", self._message)
            self._message = None


class Fingerprints:
    """State of the folders and tars of a list when the list was made."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.marks: list[tuple[int, int, int]] = []
        self._began = time.time_ns()

    def add(self, path: str | Path) -> os.stat_result:
        """Records a folder, before it is listed, or a tar; returns its status."""
        status = _status(path)
        self.paths.append(os.fspath(path))
        self.marks.append(_mark(status))
        return status

    @property
    def settled(self) -> bool:
        """Whether every later change will show in the recorded times."""
        return all(mark[0] < self._began - _TICK_NS for mark in self.marks)


class IndexCache:
    """The cached list of one folder.

    Args:
        root: The folder.
        kind: Everything else that the list depends on.
    """

    def __init__(self, root: Path, kind: str) -> None:
        key = f"{_FORMAT}\n{os.path.abspath(root)}\n{kind}"  # noqa: PTH100 - links are to stay links
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        self.path = cache_dir() / "lists" / f"{digest}.npz"

    def load(self) -> Arrays | None:
        """Returns the cached arrays; None if there are none, or a folder has changed since."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                cached = dict(file)
            paths = StringArray.unpack(cached, "paths", "path_stops")
            if [_mark(_status(path)) for path in paths] == [tuple(mark) for mark in cached["marks"].tolist()]:
                return cached
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # missing, damaged, or of a folder that is gone: the list is made again
        return None

    def save(self, images: int, pack: Callable[[], Arrays], fingerprints: Fingerprints) -> None:
        """Caches a long list; failing to do so is a warning, not an error.

        Args:
            images: Number of images.
            pack: Returns the arrays to cache.
            fingerprints: State of the folders that were listed.
        """
        if images < WORTH_KEEPING or not fingerprints.settled:
            return
        arrays = {**pack(), **StringArray.of(fingerprints.paths).pack("paths", "path_stops")}
        try:
            make_dir(self.path.parent)
            with atomic_file(self.path) as file:
                np.savez(file, **arrays, marks=np.array(fingerprints.marks))  # type: ignore[arg-type, unused-ignore]
        except UserError as error:
            _log.warning("the list of images is not kept: %s", error)
            return
        _log.warning("kept the list of %d images in %s", images, self.path)


def pack_counts(counts: Mapping[str, int]) -> Arrays:
    """Returns counts by reason as arrays."""
    numbers = np.array(list(counts.values()), np.int64)
    return {**StringArray.of(counts).pack("reasons", "reason_stops"), "reason_counts": numbers}


def unpack_counts(arrays: Arrays) -> dict[str, int]:
    """Reads what `pack_counts` returned."""
    reasons = StringArray.unpack(arrays, "reasons", "reason_stops")
    return dict(zip(reasons, arrays["reason_counts"].tolist(), strict=True))


def _status(path: str | Path) -> os.stat_result:
    return os.stat(path)  # noqa: PTH116 - called for every folder


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    """Returns modification time, size and inode."""
    return status.st_mtime_ns, status.st_size, status.st_ino
