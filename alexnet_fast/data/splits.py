"""Training, validation and test images of a folder.

Two layouts: `train/` and `val/` (and `test/`), each with one folder a class; or one folder of class folders,
of which a stable part becomes the validation set. WebDataset tars may stand wherever class folders may.
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
from alexnet_fast.data.find_splits import (
    Split,
    beside_parts,
    check_known,
    check_known_classes,
    find_splits,
    some,
)
from alexnet_fast.data.image_list import ImageList
from alexnet_fast.data.layouts.base import LayoutPart
from alexnet_fast.data.layouts.detect import DatasetFormat
from alexnet_fast.data.split_rule import CURRENT_RULE, validation_mask
from alexnet_fast.errors import UserError

_log = logging.getLogger("alexnet_fast")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """The parts of a data set; all share one class map.

    Args:
        train: Images to learn from.
        val: Images that choose the checkpoint and the learning rate.
        test: Images for the last figure, or None.
        rule: The number of the rule that divided them; see `split_rule`.
    """

    train: ImageList
    val: ImageList
    test: ImageList | None = None
    rule: int = CURRENT_RULE

    @property
    def classes(self) -> ClassMap:
        """The class map of all parts."""
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
    """Finds the layout of a folder and lists its parts.

    Args:
        root: The data set's folder.
        val_fraction: Share of each class that becomes the validation set where there is no `val/`.
        classes: The class map of an earlier run; by default the sorted folder names.
        exclude: Images that are left out.
        dataset_format: What is said of its layout.
        rule: Which rule divides an undivided folder; see `split_rule`.

    Raises:
        UserError: The folder is missing, empty or of no known layout, or a class has no training image.
    """
    parts = find_splits(root, dataset_format=dataset_format)
    if "all" in parts:
        return _split(root, parts["all"], SplitHow(val_fraction, rule), classes, exclude)
    beside = Ignored() if isinstance(parts.get("train"), LayoutPart) else beside_parts(root)
    return _open_parts(root, parts, classes, exclude, beside)


def open_split(
    root: Path,
    part: str,
    classes: ClassMap,
    *,
    val_fraction: float = 0.1,
    exclude: ExcludeList | None = None,
    dataset_format: DatasetFormat | None = None,
    rule: int = CURRENT_RULE,
) -> ImageList:
    """Lists the images to evaluate on.

    Args:
        root: The data set's folder.
        part: "train", "val", "test", or "all" for a plain folder of class folders.
        classes: The class map of the model.
        val_fraction: As in `open_data`.
        exclude: As in `open_data`.
        reading: As in `open_data`.
        rule: As in `open_data`.

    Raises:
        UserError: As `open_data`, or the part is not there, or it has classes that the model does not know.
    """
    parts = find_splits(root, part, dataset_format)
    if part in parts:
        listed = {part: _list(parts[part], classes)}
        say_ignored(root, listed.values(), Ignored())
        others = [_prefix(root, name, other) for name, other in parts.items() if name != part]
        return _left_out(root, parts, listed, exclude, others)[part]
    if "all" not in parts:
        raise UserError(f"{root} has no {part}/ folder", "choose another --split", exit_code=2)
    splits = _split(root, parts["all"], SplitHow(val_fraction, rule), classes, exclude)
    images = {"train": splits.train, "val": splits.val, "test": splits.test}[part]
    if images is None:
        raise UserError(f"{root} has no test/ folder", "choose another --split", exit_code=2)
    return images


def classes_of_split(root: Path, part: str, dataset_format: DatasetFormat | None = None) -> ClassMap:
    """Numbers the classes of a folder whose other parts need not be there.

    Args:
        root: The data set's folder.
        part: As in `open_split`.
        reading: As in `open_data`.

    Returns:
        The classes of `train/` where it is there, as in training; else those of the part.

    Raises:
        UserError: The folder is missing, or has fewer than two classes.
    """
    parts = find_splits(root, "train" if part == "all" else part, dataset_format)
    contents = next(parts[name] for name in ("train", part, "all") if name in parts)
    return _class_map(contents.root, contents.class_names())


def _open_parts(
    root: Path,
    parts: dict[str, Split],
    classes: ClassMap | None,
    exclude: ExcludeList | None,
    beside: Ignored,
) -> Splits:
    """Lists `train/`, `val/` and `test/`; the classes are those of `train/`."""
    if "train" not in parts:
        raise UserError(f"{root} has {some(list(parts))} shards but no train shards", "add train-....tar")
    if "val" not in parts:
        raise no_validation(root)
    classes = classes or _class_map(parts["train"].root, parts["train"].class_names())
    listed = {part: _list(contents, classes) for part, contents in parts.items()}
    say_ignored(root, listed.values(), beside)
    kept = _left_out(root, parts, listed, exclude)
    need_all_classes(parts["train"].root, kept["train"])
    for part in ("val", "test"):
        if part in kept:
            _say_missing_classes(parts[part].root, kept[part])
    return Splits(train=kept["train"], val=kept["val"], test=kept.get("test"))


@dataclasses.dataclass(frozen=True)
class SplitHow:
    """How one folder of class folders is divided.

    Args:
        fraction: Share of each class that becomes the validation set.
        rule: See `split_rule`.
    """

    fraction: float
    rule: int


def _split(
    root: Path, contents: Split, how: SplitHow, classes: ClassMap | None, exclude: ExcludeList | None
) -> Splits:
    """Splits one folder of class folders into training and validation images."""
    if not 0 < how.fraction < 1:
        raise UserError(f"--val-fraction {how.fraction} must lie between 0 and 1", exit_code=2)
    classes = classes or _class_map(root, contents.class_names())
    everything = _list(contents, classes)
    say_ignored(root, [everything], Ignored())
    need_all_classes(root, everything)
    # Before anything is left out: the others keep their side.
    is_val = validation_mask(everything.labels, everything.split_points(), how.fraction, how.rule)
    gone = _left_out(root, {"all": contents}, {"all": everything}, exclude)["all"]
    if gone is not everything:
        stays = np.isin(np.array(list(everything.names.encoded())), np.array(list(gone.names.encoded())))
        everything, is_val = gone, is_val[stays]
    train, val = everything.select(np.flatnonzero(~is_val)), everything.select(np.flatnonzero(is_val))
    need_all_classes(root, train, part="training split")
    if not len(val):
        raise _no_pair(root)
    _say_missing_classes(f"the validation split of {root}", val)
    return Splits(train=train, val=val, rule=how.rule)


def _list(contents: Split, classes: ClassMap) -> ImageList:
    """Lists a part."""
    check_known_classes(contents, classes)
    return contents.images(classes)


def _left_out(
    root: Path,
    parts: Mapping[str, Split],
    listed: Mapping[str, ImageList],
    exclude: ExcludeList | None,
    others: Collection[str] = (),
) -> dict[str, ImageList]:
    """Returns the lists of parts less what is left out."""
    if exclude is None:
        return dict(listed)
    prefixes = {part: _prefix(root, part, parts[part]) for part in listed}
    kept = exclude.apply(root, {prefixes[part]: mine for part, mine in listed.items()}, others)
    return {part: kept[prefix] for part, prefix in prefixes.items()}


def _prefix(root: Path, part: str, contents: Split) -> str:
    """Returns how the names of a part's images begin below the data set's folder, as `scan` names them."""
    if contents.root == root:
        return "" if part == "all" else f"{part}/"
    return contents.root.relative_to(root).as_posix() + "/"


def say_ignored(root: Path, listed: Iterable[ImageList], beside: Ignored) -> None:
    """Says in one line what is not listed, and for which reasons."""
    for images in listed:
        beside.add_counts(images.ignored)
    if beside.summary():
        _log.warning("ignored in %s: %s; alexnet-fast scan names each", root, beside.summary())


def _class_map(root: Path, directories: list[str]) -> ClassMap:
    """Numbers the classes in the order given.

    Raises:
        UserError: There are fewer than two.
    """
    if not directories:
        raise UserError(f"no class folders in {root}", f"put images into {root}/CLASS/, one folder a class")
    if len(directories) == 1:
        raise UserError(
            f"{root} has one class folder only ({directories[0]})", "a classifier needs at least two"
        )
    return ClassMap(tuple(directories))


def no_validation(root: Path) -> UserError:
    """Returns the error for a data set that is divided and has no validation images."""
    return UserError(
        f"{root} has train/ but no val/",
        "add val/, or give the train folder itself and let --val-fraction split it",
    )


def check_trainable(where: Path, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Refuses a data set that training would refuse.

    Args:
        where: For messages.
        counts: Images by part and class; the part "" where it is not divided.

    Raises:
        UserError: It lacks training or validation images, or has classes in one part alone.
    """
    if "" in counts:
        _class_map(where, list(counts[""]))
        if max(counts[""].values()) < 2:
            raise _no_pair(where)
        return
    if "train" not in counts:
        raise UserError(f"{where} has no train/", "training images are needed")
    if "val" not in counts:
        raise no_validation(where)
    classes = _class_map(where, list(counts["train"]))
    for part in counts:
        check_known(where / part, list(counts[part]), classes)


def _no_pair(where: Path) -> UserError:
    """Returns the error for an undivided data set that cannot be divided."""
    return UserError(f"no class in {where} has two images", "add images, or lay out train/ and val/ yourself")


def need_all_classes(root: Path, images: ImageList, *, part: str = "") -> None:
    """Refuses training images among which a class has none.

    Raises:
        UserError: It is so.
    """
    empty = _empty_classes(images)
    if empty:
        where = f"the {part} of {root}" if part else str(root)
        raise UserError(
            f"{where} has no images of class {some(empty)}", "put images there or remove the folder"
        )


def _say_missing_classes(where: Path | str, images: ImageList) -> None:
    """Warns of classes that validation says nothing about."""
    empty = _empty_classes(images)
    if empty:
        _log.warning("%s has no images of class %s: it is evaluated on the others", where, some(empty))


def _empty_classes(images: ImageList) -> list[str]:
    """Returns the classes without images."""
    return [name for name, count in zip(images.classes.names, images.counts(), strict=True) if not count]
