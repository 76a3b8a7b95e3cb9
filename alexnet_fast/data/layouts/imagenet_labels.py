"""The classes of ILSVRC-2012's validation images, in any of the forms in which they are given out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alexnet_fast.data.layouts.base import WNID, read_lines
from alexnet_fast.data.layouts.csv_rows import csv_rows
from alexnet_fast.data.layouts.ilsvrc_devkit import Devkit
from alexnet_fast.errors import UserError

# Kaggle's CSV of ImageId and boxes; Caffe's list of file and index; TensorFlow's list of WordNet numbers.
LISTS = ("LOC_val_solution.csv", "val.txt", "imagenet_2012_validation_synset_labels.txt", "synset_labels.txt")


def validation_wnids(
    root: Path, images: Sequence[str], wnids: Sequence[str], devkit: Devkit | None
) -> dict[str, str]:
    """Returns the WordNet number of each validation image.

    Args:
        root: Folder that a list may stand in.
        images: Names of the images, sorted.
        wnids: Those of all classes, sorted.
        devkit: Where there is one; a list beside the data set is read first.

    Raises:
        UserError: There is no list, or it does not fit the images.
    """
    path = next((root / name for name in LISTS if (root / name).is_file()), None)
    if path is not None:
        by_name = _read_list(path, images, wnids)
    elif devkit is not None:
        _same_length(devkit.source, len(devkit.truth), images)
        by_name = _by_number(devkit, images)
    else:
        raise UserError(
            f"{root} says nowhere which classes the validation images are of",
            f"put ILSVRC2012_devkit_t12.tar.gz there, or one of {', '.join(LISTS)}",
        )
    return _checked(path or root, by_name, images, wnids)


def _by_number(devkit: Devkit, images: Sequence[str]) -> dict[str, str]:
    """Reads the ground truth of the development kit: an ILSVRC2012_ID an image.

    Raises:
        UserError: There is no such number.
    """
    for line, number in enumerate(devkit.truth, 1):
        if number not in devkit.wnids:
            raise UserError(
                f"{devkit.source}: line {line} of the validation ground truth is {number}, no class",
                "copy it again",
            )
    return {name: devkit.wnids[number] for name, number in zip(images, devkit.truth, strict=True)}


def _read_list(path: Path, images: Sequence[str], wnids: Sequence[str]) -> dict[str, str]:
    """Reads a list by its form.

    Raises:
        UserError: It does not fit the images.
    """
    if path.suffix == ".csv":
        endings = {name.rpartition(".")[0]: name for name in images}
        rows = (row for _, row in csv_rows(path, ("ImageId", "PredictionString")))
        return {
            endings.get(row["ImageId"], row["ImageId"]): row["PredictionString"].split(" ")[0] for row in rows
        }
    lines = [line.split() for line in read_lines(path)]
    if all(len(line) == 1 for line in lines):
        _same_length(path, len(lines), images)
        return {name: line[0] for name, line in zip(images, lines, strict=True)}
    found = {}
    for number, words in enumerate(lines, 1):
        if len(words) != 2 or not words[1].isdecimal() or int(words[1]) >= len(wnids):
            raise UserError(
                f"{path} line {number} is no file and class index", f"indices are 0 to {len(wnids) - 1}"
            )
        found[words[0]] = wnids[int(words[1])]
    return found


def _same_length(path: Path, lines: int, images: Sequence[str]) -> None:
    """Refuses a list that goes by order and has another length than the images.

    Raises:
        UserError: It is so.
    """
    if lines != len(images):
        raise UserError(
            f"{path} labels {lines} validation images, and there are {len(images)}",
            "the list goes by the order of the images' names: all of them must be there",
        )


def _checked(
    path: Path, by_name: dict[str, str], images: Sequence[str], wnids: Sequence[str]
) -> dict[str, str]:
    """Returns the classes when every image has a known one, and every line an image.

    Raises:
        UserError: It is not so.
    """
    known = set(wnids)
    for name, wnid in by_name.items():
        if wnid not in known:
            what = "no class of train/" if WNID.fullmatch(wnid) else "no WordNet number"
            raise UserError(f"{path}: {wnid!r}, the class of {name}, is {what}", "copy the list again")
    lacking, beyond = sorted(set(images) - by_name.keys()), sorted(by_name.keys() - set(images))
    if lacking:
        raise UserError(f"{path} has no class for {lacking[0]} ({len(lacking)} images)", "copy it again")
    if beyond:
        raise UserError(
            f"{path} names {beyond[0]}, which is not there ({len(beyond)} images)",
            "copy the images again",
        )
    return by_name
