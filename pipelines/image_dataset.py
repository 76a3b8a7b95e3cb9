"""The images behind a loader, as torchvision's `ImageFolder` shows them."""

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
from alexnet_fast.pipelines.cpu.pillow import BadImageError, preprocess
from alexnet_fast.pipelines.io import image_at
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.suggest import choose_from

Data = str | Path | ImageList | Iterable[tuple[str | Path, int | str]]

# Without names there are as many classes as the largest label says; more than that is a mistake in it.
_MOST_UNNAMED = 1_000_000


class ImageDataset(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Labelled images; item i is (float32 (3, crop, crop) of the evaluation view, label).

    The names are those of torchvision's `ImageFolder`, for code that looks at `loader.dataset`.

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
        try:
            image = image_at(self.images, index, self.spec.background)
        except BadImageError as error:
            name = self.images.path(index)
            raise UserError(f"cannot decode {name}: {error}", "give another image") from error
        pixels = preprocess(image, self.spec)
        return torch.from_numpy(pixels), int(self.images.labels[index])


def list_data(
    data: Data, classes: Iterable[str] | None = None, fields: ShardFields = DEFAULT_FIELDS
) -> ImageList:
    """Lists what someone else's script gives.

    Args:
        data: A folder of class folders (or of tars), whose sorted names are numbered from 0 as by
            `ImageFolder`; or (path, label) pairs, all labels whole numbers or all of them class names; or a
            list of ours.
        classes: Class names in the order of their labels, where the data do not say them. Names as labels are
            numbered in sorted order without it.
        fields: Of a folder of tars: which fields of a sample are its image and label.

    Raises:
        UserError: There is nothing there, or a label is neither a whole number nor text, or has no class.
    """
    if isinstance(data, ImageList):
        return data
    if isinstance(data, str | Path):
        contents = find_splits(Path(data), "all", DatasetFormat(fields=fields))["all"]
        given = ClassMap(_class_names(classes)) if classes is not None else None
        listed = contents.images(given or ClassMap.from_names(contents.class_names()))
        warn_of_ignored(Path(data), [listed], Ignored())
        return listed
    return _list_pairs(_pairs(data), None if classes is None else _class_names(classes))


def _class_names(classes: Iterable[Any]) -> tuple[str, ...]:
    """Checks class names.

    Raises:
        UserError: They are no list of texts.
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
    """Takes a pair apart; a text of two letters is none."""
    if isinstance(pair, str | bytes):
        raise TypeError(f"{pair!r} has no label")
    path, label = pair
    return path, label


def _list_pairs(pairs: list[tuple[str, Any]], classes: tuple[str, ...] | None) -> ImageList:
    """Lists (path, label) pairs; without names a class is called by its number."""
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
    # Absolute names stay as they are when they are joined to a root.
    absolute = tuple(str(Path(path).absolute()) for path in paths)
    return ImageList(root=Path("/"), names=absolute, labels=labels, classes=ClassMap(names))


def _numbered(
    pairs: list[tuple[str, Any]], classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[int]]:
    """Numbers labels that are class names: as `classes` has them, or in sorted order as `ImageFolder` does.

    Raises:
        UserError: A label is no text, or none of the classes; or there is one name alone, which has no order.
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

    A float is refused even where it is whole: int() would make one class of 1.2 and 1.8.

    Raises:
        UserError: It is something else.
    """
    whole = not isinstance(label, bool) and hasattr(label, "__index__")
    if isinstance(label, torch.Tensor):
        whole = label.dim() == 0 and not (
            label.is_floating_point() or label.is_complex() or label.dtype == torch.bool
        )
    try:
        if whole:
            return operator.index(label)
    except TypeError:  # numpy's arrays and booleans have the method, and refuse
        pass
    raise UserError(f"the label of {path} is {label!r}", "give whole numbers from 0, or class names")


def _names_of_numbers(labels: list[int]) -> tuple[str, ...]:
    """Names classes after their numbers.

    Raises:
        UserError: A label is far too large to be one.
    """
    largest = max(labels)
    if largest >= _MOST_UNNAMED:
        raise UserError(f"the largest label is {largest}", "number the classes from 0, or give classes=[...]")
    return tuple(map(str, range(largest + 1)))
