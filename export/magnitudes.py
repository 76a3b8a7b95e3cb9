"""How often which magnitudes occur in a tensor, and where int8 had best end.

A histogram of |x| that grows with what it sees. Its end for int8 is the one with the smallest squared error:
a nearer end rounds the many finer, and cuts off the few that lie beyond.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alexnet_fast.export.scales import QMAX

_BINS = 2048
Floats = np.ndarray[Any, np.dtype[np.float32]]


class HistogramObserver:
    """A histogram of the magnitudes of numbers."""

    def __init__(self) -> None:
        self._end = 0.0
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, x: Floats) -> None:
        """Counts the magnitudes of finite numbers of any shape."""
        magnitudes = np.abs(x, dtype=np.float32).ravel()
        largest = float(magnitudes.max(initial=0))
        if largest == 0:
            return
        if self._end == 0:
            self._end = largest
        while largest > self._end:
            self._counts = np.concatenate(
                [self._counts.reshape(-1, 2).sum(1), np.zeros(_BINS // 2, np.int64)]
            )
            self._end *= 2
        # Zeros are right in every scale, and after a ReLU they are most of all.
        self._counts += np.histogram(magnitudes[magnitudes > 0], _BINS, (0, self._end))[0]

    def step(self) -> float:
        """Returns the step of int8 with the smallest squared error; 1 where all numbers were zero."""
        if self._end == 0:
            return 1.0
        centres = (np.arange(_BINS) + 0.5) * (self._end / _BINS)
        # Fewer than 128 bins would be told apart by their own width.
        ends = np.arange(QMAX + 1, _BINS + 1) * (self._end / _BINS)
        errors = [self._squared_error(centres, end / QMAX) for end in ends]
        return float(ends[int(np.argmin(errors))] / QMAX)

    def _squared_error(self, centres: np.ndarray[Any, np.dtype[Any]], step: float) -> float:
        rounded = np.minimum(np.rint(centres / step), QMAX) * step
        return float(self._counts @ (centres - rounded) ** 2)
