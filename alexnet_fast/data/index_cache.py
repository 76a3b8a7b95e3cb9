"""Long lists of images, kept in the user's cache folder and checked against the folders they are of.

Walking through a million files takes many seconds. A kept list is used when every folder that was walked (and
every tar that was read) still has its time of change, its size and its inode. So files that were added,
removed or renamed are noticed; a file whose content was changed in place is not, and need not be: the list
says nothing of contents.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alexnet_fast.data.image_list import StringArray
from alexnet_fast.errors import UserError
from alexnet_fast.utils.atomic import atomic_file, make_dir
from alexnet_fast.utils.cache_dir import cache_dir

Arrays = dict[str, np.ndarray[Any, Any]]

# Shorter lists are made in less time than it takes to say so.
WORTH_KEEPING = 10_000
# 2: with the counts of what is ignored, and longer extensions; 3: other names of arrays.
_FORMAT = 3
# A folder that changed within the clock's tick of being listed could change again and look the same; two
# seconds are the coarsest tick of a file system (FAT).
_TICK_NS = 2_000_000_000

_SECONDS_OF_SILENCE = 2.0

_log = logging.getLogger("alexnet_fast")


class SlowNotice:
    """Says once what takes so long, when it does.

    Args:
        message: What.
    """

    def __init__(self, message: str) -> None:
        self._message: str | None = message
        self._until = time.monotonic() + _SECONDS_OF_SILENCE

    def tick(self) -> None:
        """To be called now and then."""
        if self._message and time.monotonic() > self._until:
            _log.warning("%s", self._message)
            self._message = None


class Fingerprints:
    """What the folders and tars that a list is of looked like when it was made."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.marks: list[tuple[int, int, int]] = []
        self._began = time.time_ns()

    def add(self, path: str | Path) -> os.stat_result:
        """Takes note of a folder, before it is listed, or of a tar; returns its status."""
        status = _status(path)
        self.paths.append(os.fspath(path))
        self.marks.append(_mark(status))
        return status

    @property
    def settled(self) -> bool:
        """Whether every later change will be visible."""
        return all(mark[0] < self._began - _TICK_NS for mark in self.marks)


class IndexCache:
    """The kept list of one folder.

    Args:
        root: The folder.
        kind: What else decides the list.
    """

    def __init__(self, root: Path, kind: str) -> None:
        key = f"{_FORMAT}\n{os.path.abspath(root)}\n{kind}"  # noqa: PTH100 - links are to stay links
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        self.path = cache_dir() / "lists" / f"{digest}.npz"

    def load(self) -> Arrays | None:
        """Returns the kept arrays; None where there are none, or a folder has changed since."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                kept = dict(file)
            paths = StringArray.unpack(kept["paths"].tobytes(), kept["path_stops"])
            if [_mark(_status(path)) for path in paths] == [tuple(mark) for mark in kept["marks"].tolist()]:
                return kept
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # not there, or damaged, or of a folder that has gone: the list is made again
        return None

    def save(self, images: int, pack: Callable[[], Arrays], stamps: Fingerprints) -> None:
        """Keeps a list, if it is worth it; that it cannot be kept is said, and is no error.

        Args:
            images: How many there are.
            pack: Returns what is to be kept.
            stamps: Of what it was made from.
        """
        if images < WORTH_KEEPING or not stamps.settled:
            return
        arrays = pack()
        paths, stops = StringArray.of(stamps.paths).pack()
        marks = {
            "paths": np.frombuffer(paths, np.uint8),
            "path_stops": stops,
            "marks": np.array(stamps.marks),
        }
        try:
            make_dir(self.path.parent)
            with atomic_file(self.path) as file:
                np.savez(file, **arrays, **marks)  # type: ignore[arg-type, unused-ignore]
        except UserError as error:
            _log.warning("the list of images is not kept: %s", error)
            return
        _log.warning("kept the list of %d images in %s", images, self.path)


def _status(path: str | Path) -> os.stat_result:
    return os.stat(path)  # noqa: PTH116 - called for every folder


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    """Returns time of change, size and inode."""
    return status.st_mtime_ns, status.st_size, status.st_ino
