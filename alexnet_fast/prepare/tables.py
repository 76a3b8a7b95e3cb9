"""The files that a prepared Caltech-256 has beside its images.

https://github.com/adeveloperdiary/DeepLearning_MiniProjects writes and reads such:

    categories.csv   id,label      the classes, in the order of the source's numbers
    train.csv        image,class   a path below train/, and an id; val.csv likewise
    rgb_val.json     {"R": …, "G": …, "B": …}   mean of the training images, 0..255
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

from alexnet_fast.data.layouts.csv_lists import CATEGORIES
from alexnet_fast.prepare.record import Record
from alexnet_fast.utils.atomic import write_atomically

_COLOURS = "rgb_val.json"
TABLES = (CATEGORIES, "train.csv", "val.csv", _COLOURS)


def write_tables(output: Path, unfinished: Path, record: Record) -> None:
    """Writes the files.

    Args:
        output: The folder of the prepared images.
        unfinished: A folder on the same disk, so that a kill leaves no half of a file in `output`.
        record: What was prepared.

    Raises:
        UserError: One cannot be written.
    """
    numbers = {label: number for number, label in enumerate(record.classes)}
    split = [name.split("/", 2) for name, _ in record.files]
    contents = {CATEGORIES: _csv(("id", "label"), ((numbers[label], label) for label in record.classes))}
    for part in ("train", "val"):
        rows = [(f"{words[1]}/{words[2]}", numbers[words[1]]) for words in split if words[0] == part]
        contents[f"{part}.csv"] = _csv(("image", "class"), rows)
    mean, _ = record.colours.statistics()
    contents[_COLOURS] = json.dumps(dict(zip("RGB", mean or (), strict=False))) + "\n"
    for name, content in contents.items():
        write_atomically(unfinished / name, content.encode("utf-8", "surrogateescape"))
        (unfinished / name).replace(output / name)


def _csv(columns: tuple[str, str], rows: Iterable[tuple[object, object]]) -> str:
    """Returns a table."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows(rows)
    return text.getvalue()
