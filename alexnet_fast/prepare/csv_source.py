"""A CSV of file and class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.layouts.csv_rows import csv_rows
from alexnet_fast.data.places import FileLocation
from alexnet_fast.data.split_names import PARTS
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.sources import SourceImage


def list_csv(path: Path) -> list[SourceImage]:
    """Reads the columns `file` (relative to the CSV), `class` and, where there is one, `part`.

    Raises:
        UserError: A column or value is missing or cannot be used; the line is named.
    """
    return list(_images(path))


def _images(path: Path) -> Iterator[SourceImage]:
    """Yields the image of each line."""
    for where, row in csv_rows(path, ("file", "class")):
        file, part = row["file"], row.get("part", "")
        if not file or "\0" in file:
            raise UserError(f"{where} has no file", "each line needs file and class")
        if part and part not in PARTS:
            raise UserError(f"{where}: {part!r} is no part", f"use {', '.join(PARTS)} or leave it empty")
        label = check_class(row["class"].strip(), where)
        yield SourceImage(part, label, _below(label, file), FileLocation(str(path.parent / file)))


def _below(label: str, file: str) -> str:
    """Returns where a file is to stand in its class folder."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("/", "..")]
    return "/".join(parts[1:] if parts[0] == label and len(parts) > 1 else parts)
