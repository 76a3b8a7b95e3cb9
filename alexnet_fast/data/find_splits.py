"""Finds the training, validation and test images of a folder of class folders or tars, split or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.entries import Ignored, Walk
from alexnet_fast.data.image_folder import ImageFolderDataset, class_dirs
from alexnet_fast.data.image_list import ImageList
from alexnet_fast.data.image_names import why_not_listed
from alexnet_fast.data.layouts.detect import DatasetFormat, find_layout
from alexnet_fast.data.shard_fields import ShardFields
from alexnet_fast.data.shard_files import (
    beside_tars,
    by_split,
    compressed_suffix,
    is_tar,
    shards_in,
    warn_of_gaps,
    warn_of_mixed_splits,
)
from alexnet_fast.data.shards import Shards
from alexnet_fast.data.split_names import named_splits
from alexnet_fast.errors import UserError

# Hidden, so that nothing lists it as a class; `prepare` has it in its output from first to last.
UNFINISHED = ".preparing"


class Split(Protocol):
    """Labelled images of one folder, in any form."""

    @property
    def root(self) -> Path:
        """The folder."""

    def class_names(self) -> list[str]:
        """Returns the names of the classes, in the order of their indices."""

    def unknown_classes(self, classes: ClassMap) -> list[str]:
        """Returns the classes that a class map does not have."""

    def images(self, classes: ClassMap) -> ImageList:
        """Lists the images, numbered by a class map."""


def find_splits(
    root: Path, requested: str = "train", dataset_format: DatasetFormat | None = None
) -> dict[str, Split]:
    """Finds the splits of a data set, without listing their images.

    Args:
        root: Folder of the data set.
        requested: "train", "val", "test", or "all" for everything as one split.
        dataset_format: Its format, as far as the user gave it.

    Returns:
        Those of "train", "val" and "test" that are there, by name; or everything as "all".

    Raises:
        UserError: The folder cannot be read, or `prepare` has not finished it.
    """
    if str(root).startswith(("https:/", "http:/")):
        raise UserError(
            f"{root} is an address, no folder", "alexnet-fast prepare URL OUT fetches it", exit_code=2
        )
    directories = class_dirs(root)
    if (root / UNFINISHED).exists():
        raise UserError(
            f"prepare has not finished {root}", "run it again; after the last --part, prepare --join"
        )
    dataset_format = dataset_format or DatasetFormat()
    fields = dataset_format.fields
    if requested == "all":
        _check_undivided(root, directories)
    else:
        layout = find_layout(root, dataset_format)
        if layout is not None:
            return dict(layout.splits)
        divided = split_dirs(root, directories, requested)
        if divided:
            return {split: _split_in(root / name, fields) for split, name in divided.items()}
    tars = [] if directories else shards_in(root)
    if not tars:
        return {"all": ImageFolderDataset(root)}
    if requested == "all":
        warn_of_mixed_splits(root, tars)
        return {"all": Shards(root, tuple(tars), fields, all_of_root=True)}
    divided_tars = by_split(root, tars)
    alone = len(divided_tars) == 1
    return {split: Shards(root, subset, fields, alone) for split, subset in divided_tars.items()}


def split_dirs(
    root: Path,
    directories: list[str],
    requested: str = "train",
    *,
    has_images: Callable[[Path], bool] | None = None,
    has_classes: Callable[[str], bool] | None = None,
) -> dict[str, str]:
    """Returns the folder of each split, by split; nothing if these are class folders.

    Args:
        root: Their folder.
        directories: Their names.
        requested: The split that must be there, unless there is a training split.
        has_images: Returns whether there are images below a folder; by default the disk is asked.
        has_classes: Returns whether the folder of a name has folders in it; by default the disk is asked.

    Raises:
        UserError: A split has two folders, a folder beside them is no split and has images, or there are
            validation images with classes and no training images.
    """
    named = named_splits(directories)
    if "train" not in named and requested not in named:
        _check_has_train(
            root, directories, named, has_classes or (lambda name: bool(class_dirs(root / name)))
        )
        return {}
    for names in named.values():
        if len(names) > 1:
            both = " and ".join(f"{name}/" for name in names)
            raise UserError(f"{root} has {both}, which are one split", "join them, or move one elsewhere")
    splits = {split: names[0] for split, names in named.items()}
    for name in sorted(set(directories) - set(splits.values())):
        if (has_images or _has_images)(root / name):
            raise UserError(
                f"{root / name} has images and is no split of the data set: it stands beside"
                f" {', '.join(f'{name}/' for name in splits.values())}",
                "move it elsewhere, or rename it; if train is a class, rename that folder",
            )
    return splits


def beside_splits(root: Path) -> Ignored:
    """Returns the ignored entries beside train/, val/ and test/, or beside tars of several splits."""
    ignored = Ignored()
    directories = class_dirs(root, ignored)
    if not directories:
        beside = Ignored()
        beside_tars(root, beside)
        return beside
    if "train" not in named_splits(directories):
        return Ignored()
    splits = split_dirs(root, directories)
    for name in set(directories) - set(splits.values()):
        ignored.add(f"{name}/", "a folder without images beside train/")
    return ignored


def _check_has_train(
    root: Path, directories: list[str], named: dict[str, list[str]], has_classes: Callable[[str], bool]
) -> None:
    """Checks that val/ and test/ are classes if there is no train/.

    Raises:
        UserError: Class folders stand in one of them, or there is nothing beside them.
    """
    for names in named.values():
        for name in names:
            if has_classes(name) or len(directories) == sum(map(len, named.values())) > 1:
                raise UserError(
                    f"{root} has {name}/ and no train/",
                    "put the training images there, or give the folder of the class folders itself",
                )


def _check_undivided(root: Path, directories: list[str]) -> None:
    """Checks that a folder has no splits: they would be taken for classes.

    Raises:
        UserError: The folder has train/ with class folders in it.
    """
    named = named_splits(directories)
    for name in named.get("train", ()):
        if class_dirs(root / name):
            others = ", ".join(f"{other}/" for names in named.values() for other in names)
            raise UserError(f"{root} is divided into {others}", "give one of these folders")


def _has_images(directory: Path) -> bool:
    """Returns whether there is an image, a raw array or a tar anywhere below a folder."""

    def why_none(name: str) -> str | None:
        return None if is_tar(name) or compressed_suffix(name) else why_not_listed(name)

    return next(Walk(directory, why_none).files(), None) is not None


def check_known(where: Path, names: Iterable[str], classes: ClassMap) -> None:
    """Checks that a class map has all these classes: the images of others would be left out in silence.

    Raises:
        UserError: A class is not in the class map.
    """
    unknown = sorted(set(names) - set(classes.names))
    if unknown:
        raise UserError(
            f"{where} has classes that the {len(classes)} known ones do not include: {first_few(unknown)}",
            "rename or remove those folders",
        )


def first_few(names: list[str], most: int = 5) -> str:
    """Returns the first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _split_in(root: Path, fields: ShardFields) -> Split:
    """Returns the images of one folder as a split."""
    tars = [] if class_dirs(root) else shards_in(root)
    if not tars:
        return ImageFolderDataset(root)
    warn_of_gaps(tars)
    return Shards(root, tuple(tars), fields, all_of_root=True)
