"""The lines of a CSV file by the names of its columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.special_files import check_plain


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields where each line stands, for messages, and its values; empty where the line is too short.

    Args:
        path: The file, in UTF-8.
        columns: Those that it must have; others are given too.

    Raises:
        UserError: It cannot be read, or is no CSV with these columns.
    """
    try:
        check_plain(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{path} has no column {missing[0]}", f"its first line must be {','.join(columns)}"
                )
            for row in reader:
                yield f"{path} line {reader.line_num}", {name: row[name] or "" for name in row if name}
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a CSV in UTF-8 ({error})", "save it again as such") from error
