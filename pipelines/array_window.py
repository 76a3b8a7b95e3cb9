"""Which part of an array a view shows."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alexnet_fast.pipelines.geometry import crop_start, resized

# Pixels read around a window besides the reach of the resizing filter: room for rounding, as in the graph.
_SPARE = 2.0


class ArrayWindow(NamedTuple):
    """A part of an array.

    Args:
        start: First row and column to read.
        end: Row and column behind the last to read.
        view: float32 (5,): top, left, bottom and right of the view inside of what is read, and 1 where it has
            to be resized, else 0.
    """

    start: tuple[int, int]
    end: tuple[int, int]
    view: npt.NDArray[np.float32]


def array_window(size: tuple[int, int], shorter: int, side: int, draws: Any) -> ArrayWindow:
    """Finds the part of an array that a view shows, plus the resizing filter's reach.

    Args:
        size: Height and width of the array.
        shorter: Length of the shorter side after resizing.
        side: Side of the view, after resizing.
        draws: Vertical and horizontal place in [0, 1) first; None for the centre.
    """
    wide, tall = resized(size[1], size[0], shorter)
    needed = min(size) != shorter
    spans = []
    for axis, length in enumerate((tall, wide)):
        begin = (length - side) // 2 if draws is None else crop_start(float(draws[axis]), length, side)
        spans.append(_span(size[axis], length, begin, side, needed=needed))
    (top, bottom, first, last), (left, right, leftmost, rightmost) = spans
    view = np.array(
        [top - first, left - leftmost, bottom - first, right - leftmost, float(needed)], np.float32
    )
    return ArrayWindow((first, leftmost), (last, rightmost), view)


def _span(
    length: int, resized_to: int, begin: int, side: int, *, needed: bool
) -> tuple[float, float, int, int]:
    """Maps a view back to the array along one axis.

    Returns:
        Where it begins and ends (fractions of pixels), and the whole pixels to read.
    """
    scale = length / resized_to
    start, stop = begin * scale, (begin + side) * scale
    reach = max(scale, 1.0) + _SPARE if needed else 0.0
    return start, stop, max(math.floor(start - reach), 0), min(math.ceil(stop + reach), length)
