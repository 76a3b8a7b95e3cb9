"""Class folders: a folder of pictures a class."""

from __future__ import annotations

import array
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.list_cache import ListCache, Patience, Stamps
from alexnet_fast.data.names import Names, NamesBuilder
from alexnet_fast.data.picture_list import ARRAY_ENDING, PICTURE_ENDINGS, Encoding, PictureList
from alexnet_fast.data.prepared_classes import in_prepared_order
from alexnet_fast.errors import UserError

_LISTED = PICTURE_ENDINGS | {ARRAY_ENDING}


def class_folders(root: Path) -> list[str]:
    """Returns the names of the class folders in `root`, sorted; hidden folders are left out.

    Raises:
        UserError: `root` is missing, is no folder or cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    except FileNotFoundError as error:
        raise UserError(f"no such folder: {root}", "check the path", exit_code=2) from error
    except NotADirectoryError as error:
        raise UserError(
            f"{root} is a file", "give the folder that holds the class folders", exit_code=2
        ) from error
    except PermissionError as error:
        raise UserError(f"no permission to read {root}", f"chmod u+rx '{root}'") from error


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """The pictures below the class folders of one folder.

    Args:
        root: The folder.
    """

    root: Path

    def class_names(self) -> list[str]:
        """Returns the names of the class folders: sorted, or in the order that `prepare` has given them."""
        return in_prepared_order(self.root, class_folders(self.root))

    def strangers(self, classes: ClassMap) -> list[str]:
        """Returns the class folders that a class map does not have."""
        return sorted(set(self.class_names()) - set(classes.names))

    def pictures(self, classes: ClassMap) -> PictureList:
        """Lists the pictures, class by class, sorted by name.

        Where there are pictures, arrays beside them are left out, as every other file is.

        Args:
            classes: The class map that numbers the folders.

        Raises:
            UserError: There is no picture, or one cannot be read.
        """
        return list_pictures(self.root, classes)


def list_pictures(root: Path, classes: ClassMap) -> PictureList:
    """Lists the pictures of class folders; see `ClassFolders.pictures`.

    Raises:
        UserError: There is no picture, or one cannot be read.
    """
    cache = ListCache(root, "folders " + "\n".join(classes.names))
    kept = cache.load()
    if kept is None:
        pictures, stamps = _list(root, classes)
        cache.save(len(pictures), lambda: _packed(pictures), stamps)
        return pictures
    names = Names.unpack(kept["names"].tobytes(), kept["stops"])
    encoding: Encoding = "array" if kept["array"] else "picture"
    return PictureList(
        root=root,
        names=names,
        labels=kept["labels"],
        classes=classes,
        encoding=encoding,
        points=kept["points"],
    )


def _packed(pictures: PictureList) -> dict[str, npt.NDArray[Any]]:
    """Returns what is kept of a list."""
    buffer, stops = pictures.names.pack()
    return {
        "names": np.frombuffer(buffer, np.uint8),
        "stops": stops,
        "labels": pictures.labels,
        "points": pictures.split_points(),
        "array": np.array(pictures.encoding == "array"),
    }


def _list(root: Path, classes: ClassMap) -> tuple[PictureList, Stamps]:
    """Walks through the folders."""
    stamps, patience = (
        Stamps(),
        Patience(f"listing the pictures in {root}: a long list is kept for the next time"),
    )
    stamps.add(root)
    pictures, arrays = _Gathered(), _Gathered()
    for label, folder in enumerate(classes.names):
        # By bytes, as names in tars are sorted.
        found = sorted(_walk(root, folder, stamps), key=os.fsencode)
        pictures.add(label, [name for name in found if not name.endswith(ARRAY_ENDING)])
        arrays.add(label, [name for name in found if name.endswith(ARRAY_ENDING)])
        patience.tick()
    gathered = pictures if pictures.labels else arrays
    if not gathered.labels:
        endings = " ".join(sorted(PICTURE_ENDINGS))
        raise UserError(f"no pictures in {root}", f"put one folder of pictures a class there ({endings})")
    listed = PictureList(
        root=root,
        names=gathered.names.done(),
        labels=np.frombuffer(gathered.labels, np.int64),
        classes=classes,
        encoding="picture" if gathered is pictures else "array",
    )
    return listed, stamps


class _Gathered:
    """Pictures of one kind."""

    def __init__(self) -> None:
        self.names = NamesBuilder()
        self.labels = array.array("q")

    def add(self, label: int, names: list[str]) -> None:
        """Adds those of one class."""
        for name in names:
            self.names.add(name)
        self.labels.extend([label] * len(names))


def _walk(root: Path, folder: str, stamps: Stamps) -> Iterator[str]:
    """Yields the pictures and arrays below one folder, relative to `root`."""
    try:
        stamps.add(root / folder)
        entries = list(os.scandir(root / folder))
    except PermissionError as error:
        raise UserError(f"no permission to read {root / folder}", f"chmod u+rx '{root / folder}'") from error
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(root, f"{folder}/{entry.name}", stamps)
        elif os.path.splitext(entry.name)[1].lower() in _LISTED:  # noqa: PTH122 - called for every file
            if not os.access(entry.path, os.R_OK):
                problem = "no such file behind the link" if not entry.is_file() else "no permission to read"
                raise UserError(f"{problem} {entry.path}", f"chmod u+r '{entry.path}', or remove it")
            yield f"{folder}/{entry.name}"
