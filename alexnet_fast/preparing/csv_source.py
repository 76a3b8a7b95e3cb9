"""A CSV of file and class."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.tar_samples import PARTS
from alexnet_fast.errors import UserError
from alexnet_fast.preparing.places import FilePlace
from alexnet_fast.preparing.sources import SourcePicture


def list_csv(path: Path) -> list[SourcePicture]:
    """Reads the columns `file` (relative to the CSV), `class` and, where there is one, `part`.

    Raises:
        UserError: A column or value is missing or cannot be used; the line is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_rows(path, csv.DictReader(file)))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV in UTF-8 ({error})", "save it again as such") from error


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[SourcePicture]:
    """Yields the picture of each line."""
    missing = [column for column in ("file", "class") if column not in (reader.fieldnames or ())]
    if missing:
        raise UserError(f"{path} has no column {missing[0]}", "its first line must be file,class")
    for row in reader:
        where = f"{path} line {reader.line_num}"
        file, part = row["file"] or "", row.get("part") or ""
        if not file or "\0" in file:
            raise UserError(f"{where} has no file", "each line needs file and class")
        if part and part not in PARTS:
            raise UserError(f"{where}: {part!r} is no part", f"use {', '.join(PARTS)} or leave it empty")
        label = check_class((row["class"] or "").strip(), where)
        yield SourcePicture(part, label, _below(label, file), FilePlace(str(path.parent / file)))


def _below(label: str, file: str) -> str:
    """Returns where a file is to stand in its class folder."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("/", "..")]
    return "/".join(parts[1:] if parts[0] == label and len(parts) > 1 else parts)
