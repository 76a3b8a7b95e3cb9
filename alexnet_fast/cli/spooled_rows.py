"""Rows of a result in a temporary file, so that a hundred thousand rows take no memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import Any

# Bytes that stay in memory.
_IN_MEMORY = 1 << 20


class SpooledRows:
    """A list of JSON values that is written once and read in order any number of times."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, mode="w+", encoding="ascii")  # noqa: SIM115
        self._count = 0

    def append(self, row: Any) -> None:
        """Adds a row at the end."""
        self._file.write(json.dumps(row, default=str) + "\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return map(json.loads, self.lines())

    def lines(self) -> Iterator[str]:
        """Yields each row as JSON."""
        self._file.seek(0)
        for line in self._file:
            yield line.rstrip("\n")
        self._file.seek(0, 2)
