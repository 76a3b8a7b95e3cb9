"""Training, validation and test pictures of a folder.

Two layouts: `train/` and `val/` (and `test/`), each with one folder a class; or one folder of class folders,
of which a stable part becomes the validation set.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.picture_list import PictureList, class_folders, list_pictures
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


def open_data(root: Path, *, val_fraction: float = 0.1, classes: ClassMap | None = None) -> Splits:
    """Finds the layout of a folder and lists its parts.

    Args:
        root: The data set's folder.
        val_fraction: Share of each class that becomes the validation set where there is no `val/`.
        classes: The class map of an earlier run; by default the sorted folder names.

    Raises:
        UserError: The folder is missing, empty or of no known layout, or a class is missing in a part.
    """
    folders = class_folders(root)
    if "train" in folders:
        return _open_parts(root, folders, classes)
    return _open_one_folder(root, folders, val_fraction, classes)


def open_part(root: Path, part: str, classes: ClassMap, *, val_fraction: float = 0.1) -> PictureList:
    """Lists the pictures to evaluate on.

    Args:
        root: The data set's folder.
        part: "train", "val", "test", or "all" for a plain folder of class folders.
        classes: The class map of the model.
        val_fraction: As in `open_data`.

    Raises:
        UserError: As `open_data`, or the part is not there, or it has classes that the model does not know.
    """
    folders = class_folders(root)
    if part == "all":
        _refuse_strangers(root, folders, classes)
        return list_pictures(root, classes)
    if "train" in folders or part in folders:
        if part not in folders:
            raise UserError(f"{root} has no {part}/ folder", "choose another --split", exit_code=2)
        _refuse_strangers(root / part, class_folders(root / part), classes)
        return list_pictures(root / part, classes)
    splits = _open_one_folder(root, folders, val_fraction, classes)
    pictures = {"train": splits.train, "val": splits.val, "test": splits.test}[part]
    if pictures is None:
        raise UserError(f"{root} has no test/ folder", "choose another --split", exit_code=2)
    return pictures


def _open_parts(root: Path, folders: list[str], classes: ClassMap | None) -> Splits:
    """Lists `train/`, `val/` and `test/`; the classes are those of `train/`."""
    if "val" not in folders:
        raise UserError(
            f"{root} has train/ but no val/",
            "add val/, or give the train folder itself and let --val-fraction split it",
        )
    here = class_folders(root / "train")
    classes = classes or _class_map(root / "train", here)
    parts = {}
    for part in ("train", "val", "test"):
        if part not in folders:
            continue
        _refuse_strangers(root / part, class_folders(root / part), classes)
        parts[part] = list_pictures(root / part, classes)
        if part != "test":
            _need_all_classes(root / part, parts[part], f"add pictures of it to {root / part}")
    return Splits(train=parts["train"], val=parts["val"], test=parts.get("test"))


def _open_one_folder(root: Path, folders: list[str], val_fraction: float, classes: ClassMap | None) -> Splits:
    """Splits one folder of class folders into training and validation pictures."""
    if not 0 < val_fraction < 1:
        raise UserError(f"--val-fraction {val_fraction} must lie between 0 and 1", exit_code=2)
    classes = classes or _class_map(root, folders)
    _refuse_strangers(root, folders, classes)
    everything = list_pictures(root, classes)
    _need_all_classes(root, everything, "put pictures there or remove the folder")
    val_at = [i for i, name in enumerate(everything.names) if split_point(name) < val_fraction]
    chosen = set(val_at)
    train = everything.select([i for i in range(len(everything)) if i not in chosen])
    val = everything.select(val_at)
    mend = "choose another --val-fraction, add pictures, or lay out train/ and val/ yourself"
    _need_all_classes(root, val, mend, part="validation split")
    _need_all_classes(root, train, mend, part="training split")
    return Splits(train=train, val=val)


def split_point(name: str) -> float:
    """Returns a fixed point in [0, 1) for a picture's name: below the fraction means validation.

    It depends on the name alone, so that a picture never changes sides when others are added or removed.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _class_map(root: Path, folders: list[str]) -> ClassMap:
    """Numbers the class folders.

    Raises:
        UserError: There are fewer than two.
    """
    if not folders:
        raise UserError(f"no class folders in {root}", f"put pictures into {root}/CLASS/, one folder a class")
    if len(folders) == 1:
        raise UserError(f"{root} has one class folder only ({folders[0]})", "a classifier needs at least two")
    return ClassMap.from_names(folders)


def _refuse_strangers(root: Path, folders: list[str], classes: ClassMap) -> None:
    """Refuses class folders that the class map does not have: their pictures would be left out in silence."""
    strangers = sorted(set(folders) - set(classes.names))
    if strangers:
        raise UserError(
            f"{root} has classes that the {len(classes)} known ones do not include: {_some(strangers)}",
            "rename or remove those folders",
        )


def _need_all_classes(root: Path, pictures: PictureList, mend: str, *, part: str = "") -> None:
    """Refuses a part in which a class has no picture."""
    empty = [name for name, count in zip(pictures.classes.names, pictures.counts(), strict=True) if not count]
    if empty:
        where = f"the {part} of {root}" if part else str(root)
        raise UserError(f"{where} has no pictures of class {_some(empty)}", mend)


def _some(names: list[str], most: int = 5) -> str:
    """Returns the first few names and how many there are beyond them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
