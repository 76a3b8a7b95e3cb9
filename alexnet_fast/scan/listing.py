"""The files that a scan examines: those that training would list; and every other one with its reason."""

from __future__ import annotations

import dataclasses
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from alexnet_fast.data.entries import Ignored, Walk
from alexnet_fast.data.find_splits import split_dirs
from alexnet_fast.data.image_folder import class_dirs
from alexnet_fast.data.image_list import ARRAY_SUFFIX
from alexnet_fast.data.image_names import extension, why_junk, why_not_listed
from alexnet_fast.data.layouts.imagenet import is_ilsvrc2012
from alexnet_fast.data.shard_files import is_tar
from alexnet_fast.data.split_names import named_splits
from alexnet_fast.errors import UserError

_log = logging.getLogger("alexnet_fast")

ARRAYS_BESIDE = "a raw array beside images"

# How the formats begin that a file of another extension may hold.
_BEGINNINGS = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("GIF", 0, b"GIF8"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("WEBP", 8, b"WEBPVP8"),
    ("JPEG2000", 0, b"\0\0\0\x0cjP  "),
    ("AVIF", 4, b"ftypavif"),
    ("HEIC", 4, b"ftyphei"),
    ("BMP", 0, b"BM"),
)


@dataclasses.dataclass(frozen=True)
class Listing:
    """What stands below a directory, every file once: in `names` or in `ignored`.

    Args:
        names: Images, raw arrays and tars, relative to the directory, sorted.
        ignored: (file, reason), sorted; links to directories that are not followed are among them.
        empty: Class folders without a single image.
    """

    names: tuple[str, ...]
    ignored: tuple[tuple[str, str], ...]
    empty: tuple[str, ...]


def list_for_scan(root: Path) -> Listing:
    """Lists a directory as training would: class folders, alone or in train/, val/ and test/, or plain files.

    Raises:
        UserError: The directory is missing, is none or cannot be read.
    """
    _need_directory(root)
    lister = _Lister(root)
    lister.list_root()
    ignored = [pair for name, reason in lister.ignored.entries for pair in _explained(root, name, reason)]
    return Listing(tuple(sorted(lister.names)), tuple(sorted(ignored)), tuple(sorted(lister.empty)))


def list_files(root: Path) -> list[str]:
    """Returns every file below a directory that no system left there, relative to it and sorted.

    Raises:
        UserError: The directory is missing, is none or cannot be read.
    """
    _need_directory(root)
    return sorted(Walk(root, why_junk).files())


class _Lister:
    """Goes through the levels of a data set."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.ignored = Ignored(names=True)
        self.names: list[str] = []
        self.empty: list[str] = []

    def list_root(self) -> None:
        """Lists the whole."""
        directories = class_dirs(self._root)
        try:
            split_dirs(self._root, directories)
        except UserError as error:
            _log.warning("training would refuse this folder: %s", error.problem)
        splits = named_splits(directories)
        divided = {name for names in splits.values() for name in names} if "train" in splits else set()
        # Its tars lie beside its folders.
        tars = is_ilsvrc2012(self._root)
        for directory in self._level("", with_tars=tars):
            if directory in divided:
                mine: list[str] = []
                for name in self._level(f"{directory}/", with_tars=tars):
                    mine += self._class_dir(f"{directory}/{name}")
                self._add(mine)
            else:
                self._add(self._class_dir(directory))

    def _level(self, prefix: str, *, with_tars: bool) -> list[str]:
        """Returns the class folders of one level; if there are none, its files are those that count."""
        here = Ignored(names=True)
        directories = class_dirs(self._root / prefix, here)
        for name, reason in here.entries:
            plain = not directories and why_not_listed(name) is None
            tar = is_tar(name) and why_junk(name) is None
            if plain or (tar and (with_tars or not directories)):
                self.names.append(prefix + name)
            else:
                self.ignored.add(prefix + name, reason)
        return directories

    def _class_dir(self, name: str) -> list[str]:
        """Returns the images and arrays of a class folder."""
        found = list(Walk(self._root / name, why_not_listed, self.ignored).files(f"{name}/"))
        if not found:
            self.empty.append(f"{name}/")
        return found

    def _add(self, found: list[str]) -> None:
        """Adds the files of class folders; arrays count only where there are no images."""
        images = [name for name in found if not name.endswith(ARRAY_SUFFIX)]
        self.names += images or found
        for name in set(found) - set(images) if images else ():
            self.ignored.add(name, ARRAYS_BESIDE)


def _need_directory(root: Path) -> None:
    """Checks that a path is a directory.

    Raises:
        UserError: It is missing or is a file.
    """
    if not os.path.lexists(root):
        raise UserError(f"no such folder: {root}", "check the path", exit_code=2)
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file", "give the folder that holds the images", exit_code=2)


def _explained(root: Path, name: str, reason: str) -> Iterator[tuple[str, str]]:
    """Yields an ignored file with what it holds; of an ignored directory every file in it."""
    if not name.endswith("/"):
        yield name, _stray(root / name) or reason
        return
    found = [
        os.path.relpath(os.path.join(directory, file), root)  # noqa: PTH118 - may be a million thumbnails
        for directory, _, files in os.walk(root / name)
        for file in files
    ]
    yield from ((file, reason) for file in found or [name])


def _stray(path: Path) -> str:
    """Names an image that training does not list because of its name; empty for everything else."""
    if why_junk(path.name) is not None or why_not_listed(path.name) is None:
        return ""
    try:
        # A pipe would be waited for until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        start = os.pread(descriptor, 32, 0)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    called = extension(path.name) or "a name without extension"
    found = (kind for kind, at, beginning in _BEGINNINGS if start.startswith(beginning, at))
    return next((f"{kind} called {called}: training does not list it" for kind in found), "")
