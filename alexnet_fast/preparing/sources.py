"""The labelled pictures of a source, whatever form it has."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from alexnet_fast.data import ClassMap
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.layouts.find import Reading, find_layout
from alexnet_fast.data.layouts.layout import Layout
from alexnet_fast.data.names import Names
from alexnet_fast.data.picture_list import PICTURE_ENDINGS, split_points
from alexnet_fast.data.places import FilePlace
from alexnet_fast.data.shard_files import compressed_ending, is_tar
from alexnet_fast.data.split_names import PARTS
from alexnet_fast.errors import UserError
from alexnet_fast.preparing.places import Place
from alexnet_fast.scanning.folder_scan import list_files

# The output is JPEG, so a format that DALI cannot read is no obstacle; an animation gives its first picture.
SOURCE_ENDINGS = PICTURE_ENDINGS | {".gif"}
# Of a compressed tar, unless `--max-download` says otherwise.
MOST_UNPACKED = 16 << 30


@dataclasses.dataclass(frozen=True)
class SourcePicture:
    """One picture to be prepared.

    Args:
        part: "train", "val" or "test"; empty where the source is not divided.
        label: Name of its class.
        rest: Its path below the class folder, with "/" between the parts.
        place: Where its bytes are.
    """

    part: str
    label: str
    rest: str
    place: Place

    @property
    def name(self) -> str:
        """Its path below the source."""
        return "/".join(filter(None, (self.part, self.label, self.rest)))


@dataclasses.dataclass(frozen=True)
class SourceList:
    """All pictures of a source, sorted by name.

    Args:
        pictures: The pictures; no two have one name.
        classes: The class map of all parts.
        layout: What its layout is called; None for class folders, archives and lists.
    """

    pictures: tuple[SourcePicture, ...]
    classes: ClassMap
    layout: str | None = None

    @property
    def divided(self) -> bool:
        """Whether there are train/, val/ and test/."""
        return any(picture.part for picture in self.pictures)

    def divide(self, val_fraction: float) -> SourceList:
        """Returns the list with a stable share of its pictures in val/ and the rest in train/.

        The share is the one that training would keep for validation: it hangs on the names.
        """
        points = split_points(Names.of(picture.name for picture in self.pictures))
        moved = (
            dataclasses.replace(picture, part="val" if point < val_fraction else "train")
            for picture, point in zip(self.pictures, points, strict=True)
        )
        return dataclasses.replace(self, pictures=tuple(sorted(moved, key=lambda picture: picture.name)))

    def fingerprint(self) -> str:
        """Returns a SHA-256 over the names: runs that share the work must have one list."""
        names = "\n".join(picture.name for picture in self.pictures)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()


def open_source(
    source: Path,
    reading: Reading | None = None,
    *,
    ignored: Ignored | None = None,
    most_unpacked: int = MOST_UNPACKED,
) -> SourceList:
    """Lists a folder, a CSV, WebDataset tars, or a tar or zip of class folders.

    Args:
        source: Its path.
        reading: What is said of the layout of a folder, and of the fields of tars.
        ignored: Receives what is not a picture of the source.
        most_unpacked: Most bytes that a compressed tar may hold.

    Raises:
        UserError: It is missing, of no known form or holds no labelled picture.
    """
    from alexnet_fast.preparing.archives import list_zip
    from alexnet_fast.preparing.csv_source import list_csv
    from alexnet_fast.preparing.tars import list_shards, list_tar

    reading, ignored = reading or Reading(), Ignored() if ignored is None else ignored
    if source.is_dir():
        layout = find_layout(source, reading)
        if layout is not None:
            return gather(source, _of_layout(layout), layout)
        found = _list_folder(source) or list_shards(source, ignored, reading.fields, most_unpacked)
        return gather(source, found)
    if not source.exists():
        raise UserError(f"no such file or folder: {source}", "check the path", exit_code=2)
    if reading.kind not in (None, "folders"):
        raise UserError(f"--layout {reading.kind} is that of a folder, and {source} is a file", exit_code=2)
    ending = source.suffix.lower()
    if ending == ".csv":
        return gather(source, list_csv(source))
    if ending == ".zip":
        return gather(source, list_zip(source, ignored))
    if is_tar(source.name) or compressed_ending(source.name):
        return gather(source, list_tar(source, ignored, reading.fields, most_unpacked))
    raise UserError(
        f"{source} is of no kind that can be prepared",
        "give a folder, a .csv, a .zip or a .tar, plain or compressed",
        exit_code=2,
    )


def gather(source: Path, found: Iterable[SourcePicture], layout: Layout | None = None) -> SourceList:
    """Sorts pictures and numbers their classes, as the layout has them or else by name.

    Raises:
        UserError: There is none, or two have one name.
    """
    pictures = tuple(sorted(found, key=lambda picture: picture.name))
    if not pictures:
        raise UserError(
            f"no labelled pictures in {source}", "put one folder of pictures a class there, or give a CSV"
        )
    for one, next_one in itertools.pairwise(pictures):
        if one.name == next_one.name:
            raise UserError(f"{source} lists {one.name} twice", "remove one of them")
    if layout is not None:
        return SourceList(pictures, ClassMap(layout.classes), layout.kind)
    return SourceList(pictures, ClassMap.from_names(picture.label for picture in pictures))


def arrange(entries: Iterable[tuple[str, Place]]) -> list[SourcePicture]:
    """Finds part and class of each file in the folders above it; files in no class folder are left out.

    Args:
        entries: Path of each file below the source, with "/" between its parts, and its place.
    """
    split = [(PurePosixPath(name).parts, place) for name, place in entries]
    divided = any(parts[0] == "train" and len(parts) > 1 for parts, _ in split)
    found = []
    for parts, place in split:
        part = parts[0] if divided else ""
        below = parts[1:] if divided else parts
        if (divided and part not in PARTS) or len(below) < 2:
            continue
        found.append(SourcePicture(part, below[0], "/".join(below[1:]), place))
    return found


def is_picture(name: str) -> bool:
    """Tells by its ending whether a file is a picture."""
    return PurePosixPath(name).suffix.lower() in SOURCE_ENDINGS


def _of_layout(layout: Layout) -> Iterator[SourcePicture]:
    """Yields the pictures of a folder in a published layout."""
    for part, contents in layout.parts.items():
        for row in contents.rows():
            place = row.place or FilePlace(f"{contents.root}/{row.file}")
            yield SourcePicture("" if part == "all" else part, row.label, row.rest, place)


def _list_folder(root: Path) -> list[SourcePicture]:
    """Lists class folders, alone or in train/, val/ and test/."""
    names = filter(is_picture, list_files(root))
    return arrange((name, FilePlace(f"{root}/{name}")) for name in names)
