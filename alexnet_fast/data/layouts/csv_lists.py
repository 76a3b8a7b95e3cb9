"""Folders train/ and val/ with train.csv and val.csv (image, class) and categories.csv (id, label).

The files of the preprocessor of https://github.com/adeveloperdiary/DeepLearning_MiniProjects, and of
`prepare --dataset-format caltech256`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.layouts.base import Layout, LayoutSplit, Row, csv_rows, loose_images, need_file
from alexnet_fast.data.split_names import SPLITS
from alexnet_fast.errors import UserError

KIND = "csv"
CATEGORIES = "categories.csv"


def is_csv_lists(root: Path) -> bool:
    """Returns whether a folder has this layout."""
    return all((root / name).is_file() for name in (CATEGORIES, "train.csv", "val.csv"))


def csv_lists(root: Path) -> Layout:
    """Reads the layout.

    Raises:
        UserError: A file of it is missing or wrong.
    """
    labels = _labels(need_file(root / CATEGORIES, "the list of the classes"))
    names = tuple(labels[number] for number in sorted(labels))
    need_file(root / "train.csv", "the list of the training images")
    lists = {split: root / f"{split}.csv" for split in SPLITS if (root / f"{split}.csv").is_file()}
    return Layout(
        KIND, names, {split: _part(root / split, path, names, labels) for split, path in lists.items()}
    )


def _part(directory: Path, path: Path, names: tuple[str, ...], labels: dict[int, str]) -> LayoutSplit:
    """Returns the images of one split."""
    ignored = Ignored()
    return LayoutSplit(directory, names, functools.partial(_rows, path, directory, labels, ignored), ignored)


def _labels(path: Path) -> dict[int, str]:
    """Returns the label of each class number.

    Raises:
        UserError: A number or a label stands twice, or is none.
    """
    labels: dict[int, str] = {}
    for where, row in csv_rows(path, ("id", "label")):
        number, label = row["id"].strip(), row["label"].strip()
        if not number.isascii() or not number.isdigit():
            raise UserError(f"{where}: {number!r} is no class number", "it is a whole number from 0 on")
        if int(number) in labels or label in labels.values():
            raise UserError(f"{where}: {number} {label} stands twice", "remove one of the lines")
        labels[int(number)] = check_class(label, where)
    if len(labels) < 2:
        raise UserError(f"{path} has fewer than two classes", "a classifier needs at least two")
    return labels


def _rows(path: Path, directory: Path, labels: dict[int, str], ignored: Ignored) -> Iterator[Row]:
    """Yields the images of a list.

    Raises:
        UserError: A class is not in categories.csv, or an image is not there or stands twice.
    """
    seen = set()
    for where, row in csv_rows(path, ("image", "class")):
        image, number = row["image"].strip(), row["class"].strip()
        if not number.isascii() or not number.isdigit() or int(number) not in labels:
            raise UserError(
                f"{where}: {CATEGORIES} has no category {number!r}", f"add it there, or correct {path.name}"
            )
        if image in seen:
            raise UserError(f"{where}: {image} stands twice", "remove one of the lines")
        if ".." in image.split("/") or image.startswith("/") or not (directory / image).is_file():
            raise UserError(f"{where}: {directory} has no image {image!r}", "copy the data set again")
        seen.add(image)
        label = labels[int(number)]
        yield Row(image, label, image.removeprefix(f"{label}/"))
    for image in set(loose_images(directory, ignored)) - seen:
        ignored.add(image, f"not in {path.name}")
