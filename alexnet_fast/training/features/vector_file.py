"""A `.npy` file of rows that come one batch after the other, their number unknown until the end."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from alexnet_fast.pipelines.bad_images import nothing_decoded


class VectorWriter:
    """Writes float32 (N, D) row by row.

    numpy leaves room in the header for the first side to grow (numpy.lib.format, "growth axis"), so it is
    written again over itself when N is known.

    Args:
        file: Open for writing, at its beginning, and able to seek.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._rows, self._columns, self._length = 0, 0, 0

    def add(self, values: npt.NDArray[np.float32]) -> None:
        """Appends rows (B, D)."""
        if not self._rows:
            self._columns = values.shape[1]
            header = self._header()
            self._length = len(header)
            self._file.write(header)
        self._file.write(np.ascontiguousarray(values, "<f4").tobytes())
        self._rows += len(values)

    def finish(self, root: Path) -> tuple[int, int]:
        """Writes the number of rows, and returns rows and columns.

        Args:
            root: Where the images were to be, for the message.

        Raises:
            UserError: There are none.
        """
        if not self._rows:
            raise nothing_decoded(root)
        header = self._header()
        assert len(header) == self._length
        self._file.seek(0)
        self._file.write(header)
        self._file.seek(0, io.SEEK_END)
        return self._rows, self._columns

    def _header(self) -> bytes:
        buffer = io.BytesIO()
        fields = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, self._columns)}
        np.lib.format.write_array_header_1_0(buffer, fields)  # type: ignore[no-untyped-call, unused-ignore]
        return buffer.getvalue()
