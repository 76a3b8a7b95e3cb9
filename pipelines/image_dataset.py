"""The data set behind an `ImageLoader`, with the attributes of torchvision's `ImageFolder`."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from alexnet_fast.data import ClassMap, ImageList
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.find_splits import find_splits
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.shard_fields import DEFAULT_FIELDS, ShardFields
from alexnet_fast.data.splits import warn_of_ignored
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import naming, preprocess
from alexnet_fast.pipelines.io import image_at
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.suggest import choose_from

Data = str | Path | ImageList | Iterable[tuple[str | Path, int | str]]

# Without class names the largest label sets the number of classes; a label beyond this is an error.
_MOST_UNNAMED = 1_000_000


class ImageDataset(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Labelled images; item i is (float32 (3, crop, crop) of the evaluation view, label).

    The attributes are those of torchvision's `ImageFolder`, for code that reads `loader.dataset`.

    Args:
        images: The list.
        spec: Sizes and normalisation.
    """

    def __init__(self, images: ImageList, spec: AugmentSpec) -> None:
        self.images, self.spec = images, spec

    @property
    def classes(self) -> list[str]:
        """Class names in the order of their labels."""
        return list(self.images.classes.names)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Labels by class name."""
        return {name: label for label, name in enumerate(self.images.classes.names)}

    @property
    def targets(self) -> list[int]:
        """The label of each image."""
        return [int(label) for label in self.images.labels]

    @property
    def samples(self) -> list[tuple[str, int]]:
        """Path and label of each image."""
        paths = map(self.images.path, range(len(self)))
        return list(zip(paths, self.targets, strict=True))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        with naming(self.images.path(index)):
            image = image_at(self.images, index, self.spec.background)
        pixels = preprocess(image, self.spec)
        return torch.from_numpy(pixels), int(self.images.labels[index])


def list_data(
    data: Data, classes: Iterable[str] | None = None, fields: ShardFields = DEFAULT_FIELDS
) -> ImageList:
    """Lists the images of a data set in any supported form.

    Args:
        data: A folder of class folders (or of tars), whose sorted names are numbered from 0 as by
            `ImageFolder`; or (path, label) pairs, whose labels are all whole numbers or all class names; or
            an `ImageList`.
        classes: Class names in the order of their labels, if the data do not contain them. Without it, class
            names as labels are numbered in sorted order.
        fields: For a folder of tars: the fields of a sample that hold image and label.

    Raises:
        UserError: There is no image, or a label is neither a whole number nor text, or has no class.
    """
    if isinstance(data, ImageList):
        return data
    if isinstance(data, str | Path):
        split = find_splits(Path(data), "all", DatasetFormat(fields=fields))["all"]
        names = split.class_names() if classes is None else _class_names(classes)
        images = split.images(ClassMap.from_names(names) if classes is None else ClassMap(tuple(names)))
        warn_of_ignored(Path(data), [images], Ignored())
        return images
    return _list_pairs(_pairs(data), None if classes is None else _class_names(classes))


def _class_names(classes: Iterable[Any]) -> tuple[str, ...]:
    """Checks class names.

    Raises:
        UserError: `classes` is no list of texts.
    """
    names = () if isinstance(classes, str) else tuple(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"classes={classes!r} are no class names", "give a list of texts")
    return tuple(map(str, names))


def _pairs(data: Any) -> list[tuple[str, Any]]:
    """Checks the form of (path, label) pairs."""
    try:
        pairs = [(os.fsdecode(path), label) for path, label in map(_pair, data)]
    except (TypeError, ValueError) as error:
        raise UserError(
            f"the images are no (path, label) pairs ({error})", "give a folder, or pairs such as ('a.jpg', 0)"
        ) from error
    if not pairs:
        raise UserError("the list of images is empty", "give (path, label) pairs")
    return pairs


def _pair(pair: Any) -> tuple[Any, Any]:
    """Unpacks a pair; a text of two letters is none."""
    if isinstance(pair, str | bytes):
        raise TypeError(f"{pair!r} has no label")
    path, label = pair
    return path, label


def _list_pairs(pairs: list[tuple[str, Any]], classes: tuple[str, ...] | None) -> ImageList:
    """Lists (path, label) pairs; without class names a class is named by its number."""
    paths = [path for path, _ in pairs]
    if any(isinstance(label, str) for _, label in pairs):
        names, labels = _numbered(pairs, classes)
    else:
        labels = [_number(path, label) for path, label in pairs]
        names = classes if classes is not None else _names_of_numbers(labels)
    if not 0 <= min(labels) <= max(labels) < len(names):
        raise UserError(
            f"labels run from {min(labels)} to {max(labels)}, and there are {len(names)} classes",
            "number the classes from 0",
        )
    # Joining an absolute name to a root leaves it unchanged.
    absolute = tuple(str(Path(path).absolute()) for path in paths)
    return ImageList(root=Path("/"), names=absolute, labels=labels, classes=ClassMap(names))


def _numbered(
    pairs: list[tuple[str, Any]], classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[int]]:
    """Numbers labels that are class names: in the order of `classes`, or sorted as by `ImageFolder`.

    Raises:
        UserError: A label is no text or none of the classes, or there is only one class name.
    """
    for path, label in pairs:
        if not isinstance(label, str):
            raise UserError(
                f"the label of {path} is {label!r}, and others are class names", "give one kind of label"
            )
    names = tuple(sorted({str(label) for _, label in pairs})) if classes is None else classes
    if classes is None and len(names) < 2:
        raise UserError(
            f"the only label is {names[0]!r}, which does not say the classes",
            "give all of them: classes=[...]",
        )
    numbers = {name: number for number, name in enumerate(names)}
    for path, label in pairs:
        if label not in numbers:
            raise UserError(f"the label of {path} is {label!r}", choose_from(label, names))
    return names, [numbers[label] for _, label in pairs]


def _number(path: str, label: Any) -> int:
    """Returns a label that is a whole number, whatever library it comes from.

    A float is refused even if it is whole: int() would merge 1.2 and 1.8 into one class.

    Raises:
        UserError: The label is no whole number.
    """
    whole = not isinstance(label, bool) and hasattr(label, "__index__")
    if isinstance(label, torch.Tensor):
        whole = label.dim() == 0 and not (
            label.is_floating_point() or label.is_complex() or label.dtype == torch.bool
        )
    try:
        if whole:
            return operator.index(label)
    except TypeError:  # numpy's arrays and booleans have the method but raise
        pass
    raise UserError(f"the label of {path} is {label!r}", "give whole numbers from 0, or class names")


def _names_of_numbers(labels: list[int]) -> tuple[str, ...]:
    """Names classes by their numbers.

    Raises:
        UserError: A label is far too large.
    """
    largest = max(labels)
    if largest >= _MOST_UNNAMED:
        raise UserError(f"the largest label is {largest}", "number the classes from 0, or give classes=[...]")
    return tuple(map(str, range(largest + 1)))
