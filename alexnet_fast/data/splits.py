"""Training, validation and test images of a folder.

Two layouts: `train/` and `val/` (and `test/`), each with one folder per class; or one folder of class
folders, a stable part of which becomes the validation set. WebDataset tars may replace class folders.
Published layouts whose labels stand in files are in `data.layouts`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.exclude import ExcludeList
from alexnet_fast.data.find_splits import Split, beside_splits, check_known, find_splits, first_few
from alexnet_fast.data.image_list import ImageList
from alexnet_fast.data.layouts.base import LayoutSplit
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.split_rule import CURRENT_RULE, validation_mask
from alexnet_fast.errors import UserError

_log = logging.getLogger("alexnet_fast")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """The splits of a data set, with one class map.

    Args:
        train: Images to learn from.
        val: Images that choose the checkpoint and the learning rate.
        test: Images for the final figure, or None.
        rule: Number of the rule that divided the images; see `split_rule`.
    """

    train: ImageList
    val: ImageList
    test: ImageList | None = None
    rule: int = CURRENT_RULE

    @property
    def classes(self) -> ClassMap:
        """The class map of all splits."""
        return self.train.classes


def open_data(
    root: Path,
    *,
    val_fraction: float = 0.1,
    classes: ClassMap | None = None,
    exclude: ExcludeList | None = None,
    dataset_format: DatasetFormat | None = None,
    rule: int = CURRENT_RULE,
) -> Splits:
    """Finds the layout of a folder and lists its splits.

    Args:
        root: Folder of the data set.
        val_fraction: Fraction of each class that becomes the validation set if there is no `val/`.
        classes: The class map of an earlier run; by default the sorted folder names.
        exclude: Images to leave out.
        dataset_format: Its format, as far as the user gave it.
        rule: Number of the rule that divides an undivided folder; see `split_rule`.

    Raises:
        UserError: The folder is missing, empty or of no known layout, or a class has no training image.
    """
    splits = find_splits(root, dataset_format=dataset_format)
    if "all" in splits:
        return _divide(root, splits["all"], _Division(val_fraction, rule), classes, exclude)
    beside = Ignored() if isinstance(splits.get("train"), LayoutSplit) else beside_splits(root)
    return _open_splits(root, splits, classes, exclude, beside)


def open_split(
    root: Path,
    split: str,
    classes: ClassMap,
    *,
    val_fraction: float = 0.1,
    exclude: ExcludeList | None = None,
    dataset_format: DatasetFormat | None = None,
    rule: int = CURRENT_RULE,
) -> ImageList:
    """Lists the images of one split, to evaluate on.

    Args:
        root: Folder of the data set.
        split: "train", "val", "test", or "all" for a plain folder of class folders.
        classes: The class map of the model.
        val_fraction: As in `open_data`.
        exclude: As in `open_data`.
        dataset_format: As in `open_data`.
        rule: As in `open_data`.

    Raises:
        UserError: As `open_data`, or the split is not there, or the model does not know one of its classes.
    """
    splits = find_splits(root, split, dataset_format)
    if split in splits:
        listed = {split: _list(splits[split], classes)}
        warn_of_ignored(root, listed.values(), Ignored())
        others = [_prefix(root, name, other) for name, other in splits.items() if name != split]
        return _without_excluded(root, splits, listed, exclude, others)[split]
    if "all" not in splits:
        raise UserError(f"{root} has no {split}/ folder", "choose another --split", exit_code=2)
    divided = _divide(root, splits["all"], _Division(val_fraction, rule), classes, exclude)
    images = {"train": divided.train, "val": divided.val, "test": divided.test}[split]
    if images is None:
        raise UserError(f"{root} has no test/ folder", "choose another --split", exit_code=2)
    return images


def classes_of_split(root: Path, split: str, dataset_format: DatasetFormat | None = None) -> ClassMap:
    """Numbers the classes of a split whose other splits need not be there.

    Args:
        root: Folder of the data set.
        split: As in `open_split`.
        dataset_format: As in `open_data`.

    Returns:
        The classes of `train/` if it is there, as in training; else those of the split.

    Raises:
        UserError: The folder is missing, or has fewer than two classes.
    """
    splits = find_splits(root, "train" if split == "all" else split, dataset_format)
    contents = next(splits[name] for name in ("train", split, "all") if name in splits)
    return _class_map(contents.root, contents.class_names())


def _open_splits(
    root: Path,
    splits: dict[str, Split],
    classes: ClassMap | None,
    exclude: ExcludeList | None,
    beside: Ignored,
) -> Splits:
    """Lists `train/`, `val/` and `test/`; the classes are those of `train/`."""
    if "train" not in splits:
        raise UserError(
            f"{root} has {first_few(list(splits))} shards but no train shards", "add train-....tar"
        )
    if "val" not in splits:
        raise _no_validation(root)
    classes = classes or _class_map(splits["train"].root, splits["train"].class_names())
    listed = {split: _list(contents, classes) for split, contents in splits.items()}
    warn_of_ignored(root, listed.values(), beside)
    remaining = _without_excluded(root, splits, listed, exclude)
    check_all_classes(splits["train"].root, remaining["train"])
    for split in ("val", "test"):
        if split in remaining:
            _warn_of_missing_classes(splits[split].root, remaining[split])
    return Splits(train=remaining["train"], val=remaining["val"], test=remaining.get("test"))


@dataclasses.dataclass(frozen=True)
class _Division:
    """How one folder of class folders is divided.

    Args:
        fraction: Fraction of each class that becomes the validation set.
        rule: See `split_rule`.
    """

    fraction: float
    rule: int


def _divide(
    root: Path, contents: Split, division: _Division, classes: ClassMap | None, exclude: ExcludeList | None
) -> Splits:
    """Divides one folder of class folders into training and validation images."""
    if not 0 < division.fraction < 1:
        raise UserError(f"--val-fraction {division.fraction} must lie between 0 and 1", exit_code=2)
    classes = classes or _class_map(root, contents.class_names())
    images = _list(contents, classes)
    warn_of_ignored(root, [images], Ignored())
    check_all_classes(root, images)
    # Before anything is left out, so that the remaining images keep their side.
    is_val = validation_mask(images.labels, images.split_points(), division.fraction, division.rule)
    remaining = _without_excluded(root, {"all": contents}, {"all": images}, exclude)["all"]
    if remaining is not images:
        stays = np.isin(np.array(list(images.names.encoded())), np.array(list(remaining.names.encoded())))
        images, is_val = remaining, is_val[stays]
    train, val = images.select(np.flatnonzero(~is_val)), images.select(np.flatnonzero(is_val))
    check_all_classes(f"the training split of {root}", train)
    if not len(val):
        raise _no_pair(root)
    _warn_of_missing_classes(f"the validation split of {root}", val)
    return Splits(train=train, val=val, rule=division.rule)


def _list(contents: Split, classes: ClassMap) -> ImageList:
    """Lists a split.

    Raises:
        UserError: It has a class that the class map does not have.
    """
    check_known(contents.root, contents.unknown_classes(classes), classes)
    return contents.images(classes)


def _without_excluded(
    root: Path,
    splits: Mapping[str, Split],
    listed: Mapping[str, ImageList],
    exclude: ExcludeList | None,
    others: Collection[str] = (),
) -> dict[str, ImageList]:
    """Returns the lists of splits without the images to leave out."""
    if exclude is None:
        return dict(listed)
    prefixes = {split: _prefix(root, split, splits[split]) for split in listed}
    remaining = exclude.apply(root, {prefixes[split]: images for split, images in listed.items()}, others)
    return {split: remaining[prefix] for split, prefix in prefixes.items()}


def _prefix(root: Path, split: str, contents: Split) -> str:
    """Returns how the names of a split's images begin below the data set's folder, as `scan` names them."""
    if contents.root == root:
        return "" if split == "all" else f"{split}/"
    return contents.root.relative_to(root).as_posix() + "/"


def warn_of_ignored(root: Path, listed: Iterable[ImageList], beside: Ignored) -> None:
    """Warns in one line of what is not listed, with the reasons."""
    for images in listed:
        beside.add_counts(images.ignored)
    if beside.summary():
        _log.warning("ignored in %s: %s; alexnet-fast scan names each", root, beside.summary())


def _class_map(root: Path, directories: list[str]) -> ClassMap:
    """Numbers the classes in their order.

    Raises:
        UserError: There are fewer than two.
    """
    if not directories:
        raise UserError(f"no class folders in {root}", f"put images into {root}/CLASS/, one folder per class")
    if len(directories) == 1:
        raise UserError(
            f"{root} has one class folder only ({directories[0]})", "a classifier needs at least two"
        )
    return ClassMap(tuple(directories))


def _no_validation(root: Path) -> UserError:
    """Returns the error for a divided data set without validation images."""
    return UserError(
        f"{root} has train/ but no val/",
        "add val/, or give the train folder itself and let --val-fraction split it",
    )


def check_trainable(where: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Checks that training would accept a data set.

    Args:
        where: For messages.
        counts: Images by split and class; the split "" if the data set is not divided.

    Raises:
        UserError: Training or validation images are missing, or a class is in one split alone.
    """
    if "" in counts:
        _class_map(where, list(counts[""]))
        if max(counts[""].values()) < 2:
            raise _no_pair(where)
        return
    if "train" not in counts:
        raise UserError(f"{where} has no train/", "training images are needed")
    if "val" not in counts:
        raise _no_validation(where)
    classes = _class_map(where, list(counts["train"]))
    for split in counts:
        check_known(where / split, list(counts[split]), classes)


def _no_pair(where: Path) -> UserError:
    """Returns the error for an undivided data set that cannot be divided."""
    return UserError(f"no class in {where} has two images", "add images, or lay out train/ and val/ yourself")


def check_all_classes(where: Path | str, images: ImageList) -> None:
    """Checks that every class has training images.

    Raises:
        UserError: A class has none.
    """
    empty = _empty_classes(images)
    if empty:
        raise UserError(
            f"{where} has no images of class {first_few(empty)}", "put images there or remove the folder"
        )


def _warn_of_missing_classes(where: Path | str, images: ImageList) -> None:
    """Warns of classes without images to evaluate on."""
    empty = _empty_classes(images)
    if empty:
        _log.warning("%s has no images of class %s: it is evaluated on the others", where, first_few(empty))


def _empty_classes(images: ImageList) -> list[str]:
    """Returns the classes without images."""
    return [name for name, count in zip(images.classes.names, images.counts(), strict=True) if not count]
