"""Memory for batches that is used again once nobody holds the batch."""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

# References to a buffer that nobody else holds: the list's, the loop's and the argument of `getrefcount`.
_UNUSED = 3

# Buffers kept at most; who holds more batches than these at once gets memory of its own for each.
_KEPT = 8


class BufferPool:
    """Gives out arrays, and their memory again when whoever had them has let go. Threads may share one.

    A batch of 128 takes 77 MB. The system gives so much memory page by page, cleared: that took a quarter of
    the time of normalising, and most of the time of reading raw arrays.
    """

    def __init__(self) -> None:
        self._buffers: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def get(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Returns an array with any values."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        with self._lock:
            # A view holds the buffer, and so does a tensor that is made of one.
            found: npt.NDArray[Any] = self._unused(size)[:size].view(dtype).reshape(shape)
            return found

    def _unused(self, size: int) -> npt.NDArray[np.uint8]:
        """Returns a buffer that nobody holds, of at least some bytes and not many more."""
        for buffer in self._buffers:
            if sys.getrefcount(buffer) == _UNUSED and size <= len(buffer) <= 2 * size:
                return buffer
        # Batches of images of many sizes differ a little.
        new = np.empty(size + size // 8, np.uint8)
        self._buffers = [*self._buffers[1 - _KEPT :], new]
        return new
