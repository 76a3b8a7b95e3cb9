"""The pictures behind a loader, as torchvision's `ImageFolder` shows them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from alexnet_fast.data import ClassMap, PictureList
from alexnet_fast.data.parts import find_parts
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.pillow_image import BadPictureError
from alexnet_fast.pipelines.place_bytes import picture_at
from alexnet_fast.pipelines.preprocessing import preprocess
from alexnet_fast.pipelines.spec import AugmentSpec

Data = str | Path | PictureList | Iterable[tuple[str | Path, int]]


class ImageDataset(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Labelled pictures; item i is (float32 (3, crop, crop) of the evaluation view, label).

    The names are those of torchvision's `ImageFolder`, for code that looks at `loader.dataset`.

    Args:
        pictures: The list.
        spec: Sizes and normalisation.
    """

    def __init__(self, pictures: PictureList, spec: AugmentSpec) -> None:
        self.pictures, self.spec = pictures, spec

    @property
    def classes(self) -> list[str]:
        """Class names in the order of their labels."""
        return list(self.pictures.classes.names)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Labels by class name."""
        return {name: label for label, name in enumerate(self.pictures.classes.names)}

    @property
    def targets(self) -> list[int]:
        """The label of each picture."""
        return [int(label) for label in self.pictures.labels]

    @property
    def samples(self) -> list[tuple[str, int]]:
        """Path and label of each picture."""
        paths = map(self.pictures.path, range(len(self)))
        return list(zip(paths, self.targets, strict=True))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        try:
            picture = picture_at(self.pictures, index, self.spec.background)
        except BadPictureError as error:
            name = self.pictures.path(index)
            raise UserError(f"cannot decode {name}: {error}", "give another picture") from error
        pixels = preprocess(picture, self.spec)
        return torch.from_numpy(pixels), int(self.pictures.labels[index])


def list_data(data: Data, classes: Iterable[str] | None = None) -> PictureList:
    """Lists what someone else's script gives.

    Args:
        data: A folder of class folders (or of tars), whose sorted names are numbered from 0 as by
            `ImageFolder`; or (path, label) pairs; or a list of ours.
        classes: Class names in the order of their labels, where the data do not say them.

    Raises:
        UserError: There is nothing there, or a label has no class.
    """
    if isinstance(data, PictureList):
        return data
    if isinstance(data, str | Path):
        contents = find_parts(Path(data), "all")["all"]
        names = contents.class_names() if classes is None else classes
        return contents.pictures(ClassMap.from_names(names) if classes is None else ClassMap(tuple(names)))
    return _list_pairs([(str(path), int(label)) for path, label in data], classes)


def _list_pairs(pairs: list[tuple[Any, int]], classes: Iterable[str] | None) -> PictureList:
    """Lists (path, label) pairs; without names a class is called by its number."""
    if not pairs:
        raise UserError("the list of pictures is empty", "give (path, label) pairs")
    paths, labels = zip(*pairs, strict=True)
    names = tuple(classes) if classes is not None else tuple(map(str, range(max(labels) + 1)))
    if not 0 <= min(labels) <= max(labels) < len(names):
        raise UserError(
            f"labels run from {min(labels)} to {max(labels)}, and there are {len(names)} classes",
            "number the classes from 0",
        )
    # Absolute names stay as they are when they are joined to a root.
    absolute = tuple(str(Path(path).absolute()) for path in paths)
    return PictureList(root=Path("/"), names=absolute, labels=labels, classes=ClassMap(names))
