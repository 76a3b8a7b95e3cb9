"""Training, validation and test pictures of a folder.

Two layouts: `train/` and `val/` (and `test/`), each with one folder a class; or one folder of class folders,
of which a stable part becomes the validation set. WebDataset tars may stand wherever class folders may.
Published layouts whose labels stand in files are in `data.layouts`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.layouts.find import Reading
from alexnet_fast.data.leave_out import LeaveOut
from alexnet_fast.data.parts import Contents, find_parts, refuse_strangers, some
from alexnet_fast.data.picture_list import PictureList
from alexnet_fast.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Splits:
    """The parts of a data set; all share one class map.

    Args:
        train: Pictures to learn from.
        val: Pictures that choose the checkpoint and the learning rate.
        test: Pictures for the last figure, or None.
    """

    train: PictureList
    val: PictureList
    test: PictureList | None = None

    @property
    def classes(self) -> ClassMap:
        """The class map of all parts."""
        return self.train.classes


def open_data(
    root: Path,
    *,
    val_fraction: float = 0.1,
    classes: ClassMap | None = None,
    leave_out: LeaveOut | None = None,
    reading: Reading | None = None,
) -> Splits:
    """Finds the layout of a folder and lists its parts.

    Args:
        root: The data set's folder.
        val_fraction: Share of each class that becomes the validation set where there is no `val/`.
        classes: The class map of an earlier run; by default the sorted folder names.
        leave_out: Pictures that are left out.
        reading: What is said of its layout.

    Raises:
        UserError: The folder is missing, empty or of no known layout, or a class is missing in a part.
    """
    parts = find_parts(root, reading=reading)
    if "all" in parts:
        return _split(root, parts["all"], val_fraction, classes, leave_out)
    return _open_parts(root, parts, classes, leave_out)


def open_part(
    root: Path,
    part: str,
    classes: ClassMap,
    *,
    val_fraction: float = 0.1,
    leave_out: LeaveOut | None = None,
    reading: Reading | None = None,
) -> PictureList:
    """Lists the pictures to evaluate on.

    Args:
        root: The data set's folder.
        part: "train", "val", "test", or "all" for a plain folder of class folders.
        classes: The class map of the model.
        val_fraction: As in `open_data`.
        leave_out: As in `open_data`.
        reading: As in `open_data`.

    Raises:
        UserError: As `open_data`, or the part is not there, or it has classes that the model does not know.
    """
    parts = find_parts(root, part, reading)
    if part in parts:
        return _list(root, part, parts[part], classes, leave_out)
    if "all" not in parts:
        raise UserError(f"{root} has no {part}/ folder", "choose another --split", exit_code=2)
    splits = _split(root, parts["all"], val_fraction, classes, leave_out)
    pictures = {"train": splits.train, "val": splits.val, "test": splits.test}[part]
    if pictures is None:
        raise UserError(f"{root} has no test/ folder", "choose another --split", exit_code=2)
    return pictures


def own_classes(root: Path, part: str, reading: Reading | None = None) -> ClassMap:
    """Numbers the classes of a folder whose other parts need not be there.

    Args:
        root: The data set's folder.
        part: As in `open_part`.
        reading: As in `open_data`.

    Returns:
        The classes of `train/` where it is there, as in training; else those of the part.

    Raises:
        UserError: The folder is missing, or has fewer than two classes.
    """
    parts = find_parts(root, "train" if part == "all" else part, reading)
    contents = next(parts[name] for name in ("train", part, "all") if name in parts)
    return _class_map(contents.root, contents.class_names())


def _open_parts(
    root: Path, parts: dict[str, Contents], classes: ClassMap | None, leave_out: LeaveOut | None
) -> Splits:
    """Lists `train/`, `val/` and `test/`; the classes are those of `train/`."""
    if "train" not in parts:
        raise UserError(f"{root} has {some(list(parts))} shards but no train shards", "add train-....tar")
    if "val" not in parts:
        raise UserError(
            f"{root} has train/ but no val/",
            "add val/, or give the train folder itself and let --val-fraction split it",
        )
    classes = classes or _class_map(root / "train", parts["train"].class_names())
    listed = {part: _list(root, part, contents, classes, leave_out) for part, contents in parts.items()}
    for part in ("train", "val"):
        _need_all_classes(root / part, listed[part], f"add pictures of it to {root / part}")
    return Splits(train=listed["train"], val=listed["val"], test=listed.get("test"))


def _split(
    root: Path,
    contents: Contents,
    val_fraction: float,
    classes: ClassMap | None,
    leave_out: LeaveOut | None,
) -> Splits:
    """Splits one folder of class folders into training and validation pictures."""
    if not 0 < val_fraction < 1:
        raise UserError(f"--val-fraction {val_fraction} must lie between 0 and 1", exit_code=2)
    classes = classes or _class_map(root, contents.class_names())
    everything = _list(root, "all", contents, classes, leave_out)
    _need_all_classes(root, everything, "put pictures there or remove the folder")
    is_val = everything.split_points() < val_fraction
    train, val = everything.select(np.flatnonzero(~is_val)), everything.select(np.flatnonzero(is_val))
    mend = "choose another --val-fraction, add pictures, or lay out train/ and val/ yourself"
    _need_all_classes(root, val, mend, part="validation split")
    _need_all_classes(root, train, mend, part="training split")
    return Splits(train=train, val=val)


def _list(
    root: Path, part: str, contents: Contents, classes: ClassMap, leave_out: LeaveOut | None
) -> PictureList:
    """Lists a part, less what is left out."""
    refuse_strangers(contents, classes)
    pictures = contents.pictures(classes)
    return pictures if leave_out is None else leave_out.apply(root, part, pictures)


def _class_map(root: Path, folders: list[str]) -> ClassMap:
    """Numbers the classes in the order given.

    Raises:
        UserError: There are fewer than two.
    """
    if not folders:
        raise UserError(f"no class folders in {root}", f"put pictures into {root}/CLASS/, one folder a class")
    if len(folders) == 1:
        raise UserError(f"{root} has one class folder only ({folders[0]})", "a classifier needs at least two")
    return ClassMap(tuple(folders))


def _need_all_classes(root: Path, pictures: PictureList, mend: str, *, part: str = "") -> None:
    """Refuses a part in which a class has no picture."""
    empty = [name for name, count in zip(pictures.classes.names, pictures.counts(), strict=True) if not count]
    if empty:
        where = f"the {part} of {root}" if part else str(root)
        raise UserError(f"{where} has no pictures of class {some(empty)}", mend)
