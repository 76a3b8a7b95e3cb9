"""Files of different lengths as the rows of one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def padded_rows(files: Sequence[bytes]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns files as uint8 (N, length of the longest), the shorter ones padded with zeros."""
    rows = np.zeros((len(files), max(map(len, files))), np.uint8)
    for row, file in zip(rows, files, strict=True):
        row[: len(file)] = np.frombuffer(file, np.uint8)
    return rows
