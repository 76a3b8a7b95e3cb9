"""What stands where in a data set's folder: class folders or tars, whole or in train/, val/ and test/."""

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
    by_part,
    compressed_suffix,
    is_tar,
    say_mixed,
    shards_in,
    warn_of_gaps,
)
from alexnet_fast.data.shards import Shards
from alexnet_fast.data.split_names import named_splits
from alexnet_fast.errors import UserError

# Hidden, so that nothing lists it as a class; `prepare` has it in its output from first to last.
UNFINISHED = ".preparing"


class Split(Protocol):
    """Labelled images of one folder, in whatever form."""

    @property
    def root(self) -> Path:
        """The folder."""

    def class_names(self) -> list[str]:
        """Returns the names of the classes, in the order of their indices."""

    def strangers(self, classes: ClassMap) -> list[str]:
        """Returns the classes that a class map does not have."""

    def images(self, classes: ClassMap) -> ImageList:
        """Lists the images, numbered by a class map."""


def find_splits(
    root: Path, wanted: str = "train", dataset_format: DatasetFormat | None = None
) -> dict[str, Split]:
    """Finds the parts of a data set; nothing is listed yet.

    Args:
        root: Its folder.
        wanted: "train", "val", "test", or "all" for everything as one part.
        dataset_format: What is said of its layout.

    Returns:
        Contents by part: "train", "val" and "test", those that are there, or "all".

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
    layout = find_layout(root, dataset_format) if wanted != "all" else None
    if layout is not None:
        return dict(layout.parts)
    if wanted != "all":
        splits = split_dirs(root, directories, wanted)
        if splits:
            return {part: _contents(root / name, dataset_format.fields) for part, name in splits.items()}
    else:
        _check_undivided(root, directories)
    tars = [] if directories else shards_in(root)
    if tars and wanted != "all":
        parts = by_part(root, tars)
        alone = len(parts) == 1
        return {part: Shards(root, mine, dataset_format.fields, alone) for part, mine in parts.items()}
    if not tars:
        return {"all": ImageFolderDataset(root)}
    say_mixed(root, tars)
    return {"all": Shards(root, tuple(tars), dataset_format.fields, all_of_root=True)}


def split_dirs(
    root: Path,
    directories: list[str],
    wanted: str = "train",
    *,
    has_images: Callable[[Path], bool] | None = None,
    has_classes: Callable[[str], bool] | None = None,
) -> dict[str, str]:
    """Returns the folder of each part, by part; nothing where these are class folders.

    Args:
        root: Their folder.
        directories: Their names.
        wanted: The part that must be there, unless there is a training part.
        has_images: Tells whether there are images below a folder; by default the disk is asked.
        has_classes: Tells by its name whether a folder has folders in it.

    Raises:
        UserError: A part has two folders, a folder beside them is none of them and has images, or there are
            validation images with classes and no training images.
    """
    named = named_splits(directories)
    if "train" not in named and wanted not in named:
        _check_head(root, directories, named, has_classes or (lambda name: bool(class_dirs(root / name))))
        return {}
    for mine in named.values():
        if len(mine) > 1:
            names = " and ".join(f"{name}/" for name in mine)
            raise UserError(f"{root} has {names}, which are one part", "join them, or move one elsewhere")
    splits = {part: mine[0] for part, mine in named.items()}
    for name in sorted(set(directories) - set(splits.values())):
        if (has_images or _has_images)(root / name):
            raise UserError(
                f"{root / name} has images and is no part of the data set: it stands beside"
                f" {', '.join(f'{name}/' for name in splits.values())}",
                "move it elsewhere, or rename it; if train is a class, rename that folder",
            )
    return splits


def beside_parts(root: Path) -> Ignored:
    """Returns what stands beside train/, val/ and test/, or beside tars of several parts, and is ignored."""
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


def _check_head(
    root: Path, directories: list[str], named: dict[str, list[str]], has_classes: Callable[[str], bool]
) -> None:
    """Refuses val/ or test/ with class folders in them where train/ is not there: they are no classes.

    Raises:
        UserError: It is so.
    """
    for mine in named.values():
        for name in mine:
            if has_classes(name) or len(directories) == sum(map(len, named.values())) > 1:
                raise UserError(
                    f"{root} has {name}/ and no train/",
                    "put the training images there, or give the folder of the class folders itself",
                )


def _check_undivided(root: Path, directories: list[str]) -> None:
    """Refuses a divided data set as one part: its parts would be taken for classes.

    Raises:
        UserError: It is one.
    """
    named = named_splits(directories)
    for name in named.get("train", ()):
        if class_dirs(root / name):
            others = ", ".join(f"{other}/" for mine in named.values() for other in mine)
            raise UserError(f"{root} is divided into {others}", "give one of these folders")


def _has_images(directory: Path) -> bool:
    """Tells whether there is an image, a raw array or a tar anywhere below a folder."""

    def why_none(name: str) -> str | None:
        return None if is_tar(name) or compressed_suffix(name) else why_not_listed(name)

    return next(Walk(directory, why_none).files(), None) is not None


def check_known_classes(contents: Split, classes: ClassMap) -> None:
    """Refuses classes that the class map does not have: their images would be left out in silence.

    Raises:
        UserError: There is one.
    """
    _refuse(contents.root, contents.strangers(classes), classes)


def check_known(where: Path, names: Iterable[str], classes: ClassMap) -> None:
    """Refuses class names that a class map does not have; see `check_known_classes`.

    Raises:
        UserError: There is one.
    """
    _refuse(where, sorted(set(names) - set(classes.names)), classes)


def _refuse(where: Path, strangers: list[str], classes: ClassMap) -> None:
    if strangers:
        raise UserError(
            f"{where} has classes that the {len(classes)} known ones do not include: {some(strangers)}",
            "rename or remove those folders",
        )


def some(names: list[str], most: int = 5) -> str:
    """Returns the first few names and how many there are beyond them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _contents(root: Path, fields: ShardFields) -> Split:
    """Returns the contents of one folder."""
    tars = [] if class_dirs(root) else shards_in(root)
    if not tars:
        return ImageFolderDataset(root)
    warn_of_gaps(tars)
    return Shards(root, tuple(tars), fields, all_of_root=True)
