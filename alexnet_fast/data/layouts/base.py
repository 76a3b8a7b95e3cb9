"""What a layout says: which file of which split is of which class."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.entries import Ignored, Walk, is_directory, unreadable
from alexnet_fast.data.image_list import ImageList, Stretches, StringArrayBuilder, TarLocation
from alexnet_fast.data.image_names import is_image_name, why_not_entered
from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.special_files import check_plain, read_given


def loose_images(directory: Path, ignored: Ignored | None = None) -> list[str]:
    """Returns every image below a folder, relative to it and sorted.

    Args:
        directory: The folder.
        ignored: Receives what is not listed.

    Raises:
        UserError: A folder cannot be read.
    """
    return sorted(Walk(directory, ignored=ignored).files(), key=os.fsencode)


def is_loose_image(name: str) -> bool:
    """Returns, by its name, whether a file is an image that training reads."""
    return is_image_name(name)


def has_loose_images(directory: Path) -> bool:
    """Returns whether an image stands in a folder itself, and no class folder does.

    Raises:
        UserError: The folder cannot be read.
    """
    if not directory.is_dir():
        return False
    plain = False
    try:
        with os.scandir(directory) as entries:
            for seen, entry in enumerate(entries):
                if is_directory(entry):
                    if why_not_entered(entry.name) is None:
                        return False
                    continue
                plain = plain or is_loose_image(entry.name)
                # Folders of loose files hold no folders at all; a million entries need not be looked at.
                if plain and seen > 1000:
                    break
    except OSError as error:
        raise unreadable(directory, error) from error
    return plain


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields where each line stands, for messages, and its values; empty where the line is too short.

    Args:
        path: The file, in UTF-8.
        columns: Those that it must have; others are given too.

    Raises:
        UserError: It cannot be read, or is no CSV with these columns.
    """
    try:
        check_plain(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{path} has no column {missing[0]}", f"its first line must be {','.join(columns)}"
                )
            for row in reader:
                yield f"{path} line {reader.line_num}", {name: row[name] or "" for name in row if name}
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV in UTF-8 ({error})", "save it again as such") from error


# WordNet's number of a noun, which ImageNet calls its classes by.
WNID = re.compile(r"n\d{8}")


class Row(NamedTuple):
    """A labelled image.

    Args:
        file: Its path below the split's folder, with "/" between the parts; a name where it lies in a tar.
        label: Name of its class.
        rest: What it is called among the images of its class.
        location: Where it lies in a tar; None for a file of its own.
    """

    file: str
    label: str
    rest: str
    location: TarLocation | None = None


@dataclasses.dataclass(frozen=True)
class LayoutSplit:
    """The images of one split; listed when they are asked for.

    Args:
        root: Folder that their paths are relative to.
        classes: Names of all classes of the data set, index 0 first.
        rows: Lists the images.
        ignored: Receives from `rows` what is not listed.
    """

    root: Path
    classes: tuple[str, ...]
    rows: Callable[[], Iterable[Row]]
    ignored: Ignored = dataclasses.field(default_factory=Ignored)

    def class_names(self) -> list[str]:
        """Returns the names of the classes, in the order of their indices."""
        return list(self.classes)

    def unknown_classes(self, classes: ClassMap) -> list[str]:
        """Returns the classes that a class map does not have."""
        numbers = _indices(classes)
        return sorted(name for name in self.classes if _index(name, numbers) is None)

    def images(self, classes: ClassMap) -> ImageList:
        """Lists the images, class by class, sorted by name.

        Args:
            classes: A class map that has every class of this data set.

        Raises:
            UserError: There is none, or a file that labels them is wrong.
        """
        numbers = _indices(classes)
        own = {name: index for name in self.classes if (index := _index(name, numbers)) is not None}
        self.ignored.counts.clear()
        rows = sorted((own[row.label], os.fsencode(row.file), row) for row in self.rows())
        if not rows:
            raise UserError(f"no images in {self.root}", "check the folder")
        names = StringArrayBuilder()
        for _, _, row in rows:
            names.add(row.file)
        listed = ImageList(
            root=self.root,
            names=names.done(),
            labels=np.array([label for label, _, _ in rows], np.int64),
            classes=classes,
            stretches=_stretches([row.location for _, _, row in rows if row.location is not None]),
        )
        listed.ignored = dict(self.ignored.counts)
        return listed


@dataclasses.dataclass(frozen=True)
class Layout:
    """A data set in a published layout.

    Args:
        kind: What the layout is called, one of `KINDS`.
        classes: Names of the classes, index 0 first.
        splits: "train", "val" and "test", those that have labels; or "all".
    """

    kind: str
    classes: tuple[str, ...]
    splits: dict[str, LayoutSplit]


def need_file(path: Path, what: str) -> Path:
    """Returns a file that a layout must have.

    Raises:
        UserError: The file is missing.
    """
    if not path.is_file():
        raise UserError(f"no such file: {path}", f"it is {what}", exit_code=2)
    return path


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a text file that are not blank.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        text = read_given(path).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text in UTF-8 ({error})", "copy it again") from error
    return [line for line in text.splitlines() if line.strip()]


def _indices(classes: ClassMap) -> dict[str, int]:
    """Returns the index of each class."""
    return {name: index for index, name in enumerate(classes.names)}


def _index(name: str, numbers: dict[str, int]) -> int | None:
    """Returns the index of a class; one called by WordNet number and words is known by the number too."""
    number, _, words = name.partition(" ")
    if name not in numbers and words and WNID.fullmatch(number):
        return numbers.get(number)
    return numbers.get(name)


def _stretches(locations: Sequence[TarLocation]) -> Stretches | None:
    """Returns where images lie in tars; None for files."""
    if not locations:
        return None
    tars = tuple(sorted({location.path for location in locations}))
    numbers = {tar: number for number, tar in enumerate(tars)}
    tar, offset, size = np.array([(numbers[p.path], p.offset, p.size) for p in locations], np.int64).T
    return Stretches(tars, tar, offset, size)
