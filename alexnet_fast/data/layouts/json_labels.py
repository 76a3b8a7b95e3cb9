"""Loose files in train/, val/ and test/, with a JSON of image id -> label and one of label -> index."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.layouts.base import Layout, LayoutSplit, Row, has_loose_images, loose_images
from alexnet_fast.data.split_names import SPLITS
from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.special_files import read_given

KIND = "json"

_log = logging.getLogger("alexnet_fast")


@dataclasses.dataclass(frozen=True)
class LabelFiles:
    """The two JSON files.

    Args:
        labels: Image id -> label. An id is an image's file name with or without its ending, or its path
            below the data set or below train/, val/ or test/.
        encoding: Label -> index, a whole number from 0 on. Indices may have gaps: a network has one output a
            label, in the order of the indices.
    """

    labels: Path
    encoding: Path


def find_label_files(root: Path) -> LabelFiles | None:
    """Finds the two files beside train/ by what they hold; None where this is another layout."""
    if not has_loose_images(root / "train"):
        return None
    found: dict[type, list[Path]] = {str: [], int: []}
    for path in sorted(root.glob("*.json")):
        kinds = {type(value) for value in _load(path).values()}
        if len(kinds) == 1 and kinds <= found.keys():
            found[kinds.pop()].append(path)
    if [len(files) for files in found.values()] != [1, 1]:
        return None
    return LabelFiles(labels=found[str][0], encoding=found[int][0])


def json_labels(root: Path, files: LabelFiles) -> Layout:
    """Reads the layout.

    Raises:
        UserError: A JSON is wrong, or a training or validation image has no label.
    """
    names = _class_order(files.encoding)
    labels = _load(files.labels)
    _check_known(files, labels, names)
    found = {split: Ignored() for split in SPLITS if (root / split).is_dir()}
    splits = {split: loose_images(root / split, mine) for split, mine in found.items()}
    if "train" not in splits:
        raise UserError(f"{root} has no train/ folder", "put the training images there", exit_code=2)
    find = functools.partial(_label, labels)
    if "test" in splits and not any(find("test", file) for file in splits["test"]):
        _log.warning("%s labels no image of %s: the split is left out", files.labels, root / "test")
        del splits["test"]
    for split, images in splits.items():
        _check_labelled(files, split, [file for file in images if find(split, file) is None])
    return Layout(
        KIND,
        names,
        {
            split: _part(root / split, names, functools.partial(_rows, labels, split, images), found[split])
            for split, images in splits.items()
        },
    )


def _part(
    directory: Path, names: tuple[str, ...], rows: Callable[[], Iterator[Row]], found: Ignored
) -> LayoutSplit:
    """Returns a split whose folder has been walked through."""
    ignored = Ignored()

    def counted() -> Iterator[Row]:
        ignored.add_counts(found.counts)
        yield from rows()

    return LayoutSplit(directory, names, counted, ignored)


def _rows(labels: Mapping[str, str], split: str, images: list[str]) -> Iterator[Row]:
    """Yields the images of a split."""
    for file in images:
        yield Row(file, _label(labels, split, file) or "", file)


def _label(labels: Mapping[str, str], split: str, file: str) -> str | None:
    """Returns the label of an image by any of the ids that it may have; None where it has none."""
    name = file.rpartition("/")[2]
    ids = (f"{split}/{file}", file, name, name.rpartition(".")[0])
    return next((labels[known] for known in ids if known in labels), None)


def _class_order(encoding: Path) -> tuple[str, ...]:
    """Returns the labels in the order of their indices.

    Raises:
        UserError: An index is no whole number, or is that of two labels.
    """
    indices = _load(encoding)
    by_index: dict[int, str] = {}
    for label, index in indices.items():
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise UserError(
                f"{encoding}: the index of {label!r} is {index!r}, no whole number from 0 on",
                'the file is {"cat": 0, "mug": 1}',
            )
        if index in by_index:
            raise UserError(
                f"{encoding}: {by_index[index]!r} and {label!r} have one index, {index}",
                "give each label an index of its own",
            )
        by_index[index] = check_class(label, str(encoding))
    if len(by_index) < 2:
        raise UserError(f"{encoding} has fewer than two labels", "a classifier needs at least two")
    return tuple(by_index[index] for index in sorted(by_index))


def _check_known(files: LabelFiles, labels: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Checks that every label has an index.

    Raises:
        UserError: A label has none.
    """
    known = set(names)
    for image, label in labels.items():
        if not isinstance(label, str):
            raise UserError(
                f"{files.labels}: the label of {image!r} is {label!r}, no text",
                'the file is {"image_1": "cat", "image_2": "mug"}',
            )
        if label not in known:
            raise UserError(
                f"{files.encoding} has no index for {label!r}, the label of {image!r}",
                "add it there, or correct the label",
            )


def _check_labelled(files: LabelFiles, split: str, lacking: list[str]) -> None:
    """Checks that every image has a label: others would be left out in silence.

    Raises:
        UserError: An image has none.
    """
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise UserError(
            f"{files.labels} has no label for {split}/{lacking[0]}{more}",
            "add it there, or remove the image",
        )


def _load(path: Path) -> dict[str, Any]:
    """Reads a JSON object none of whose keys stands twice.

    Raises:
        UserError: The file is something else.
    """
    try:
        plain = json.loads(read_given(path), object_pairs_hook=functools.partial(_unique, path))
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {system_reason(error)}", "check the path", exit_code=2
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error})", "save it again as UTF-8") from error
    if not isinstance(plain, dict):
        raise UserError(f"{path} is not a JSON object", 'it is {"name": value, ...}')
    return plain


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object.

    Raises:
        UserError: A key stands twice.
    """
    plain = dict(pairs)
    if len(plain) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise UserError(f"{path} has {twice!r} twice", "remove one of them")
    return plain
