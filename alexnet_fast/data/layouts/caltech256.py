"""Caltech-256 as it is given out: 256_ObjectCategories/001.ak47/001_0001.jpg, not divided into splits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.image_folder import class_dirs
from alexnet_fast.data.layouts.base import Layout, LayoutSplit, Row, loose_images
from alexnet_fast.errors import UserError

KIND = "caltech256"
_DIR = re.compile(r"(\d+)\.(.+)")


def caltech256(root: Path) -> Layout:
    """Reads the layout; the classes are in the order of their folders' numbers.

    Raises:
        UserError: A folder is not called so, or two have one number or name.
    """
    labels: dict[str, str] = {}
    numbers: dict[int, str] = {}
    for directory in class_dirs(root):
        match = _DIR.fullmatch(directory)
        if not match:
            raise UserError(
                f"{root / directory} is no class folder of Caltech-256", "its folders are called 001.ak47"
            )
        number, label = int(match[1]), check_class(match[2], str(root / directory))
        if number in numbers or label in labels.values():
            other = numbers.get(number) or next(name for name in labels if labels[name] == label)
            raise UserError(f"{root} has {other} and {directory}", "rename one of them")
        numbers[number], labels[directory] = directory, label
    if len(labels) < 2:
        raise UserError(f"{root} has fewer than two class folders", "its folders are called 001.ak47")
    names = tuple(labels[numbers[number]] for number in sorted(numbers))
    ignored = Ignored()
    return Layout(
        KIND, names, {"all": LayoutSplit(root, names, lambda: _rows(root, labels, ignored), ignored)}
    )


def _rows(root: Path, labels: Mapping[str, str], ignored: Ignored) -> Iterator[Row]:
    """Yields the images of all folders."""
    class_dirs(root, ignored)
    for directory, label in labels.items():
        for name in loose_images(root / directory, ignored):
            yield Row(f"{directory}/{name}", label, name)
