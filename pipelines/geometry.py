"""Sizes and positions, computed the same way for every loader."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alexnet_fast.utils.arrays import Integers


def resized(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Returns (width, height) after resizing the shorter side to `shorter`, the aspect ratio kept."""
    tall, wide = resized_sizes(np.array([[height, width]]), shorter)[0].tolist()
    return (wide, tall)


def resized_sizes(sizes: Integers, shorter: int) -> Integers:
    """Returns each size after resizing the shorter side to `shorter`, the aspect ratio kept.

    The longer side is rounded half away from zero, as DALI's `resize_shorter` does.

    Args:
        sizes: (B, 2), in pixels; in any order of height and width.
        shorter: In pixels.

    Returns:
        int64 (B, 2), in the same order.
    """
    scale = shorter / sizes.min(axis=1, keepdims=True)
    longer: Integers = np.maximum(np.floor(sizes * scale + 0.5).astype(np.int64), 1)
    return longer


def crop_starts(places: npt.NDArray[np.float32], lengths: Integers, crops: Integers | int) -> Integers:
    """Returns the first pixels of crops: all `length - crop + 1` positions are equally probable.

    Args:
        places: Uniform in [0, 1).
        lengths: Sides of the images in pixels.
        crops: Sides of the crops in pixels.
    """
    room = lengths - crops
    starts: Integers = np.minimum(room, np.floor(places.astype(np.float64) * (room + 1)).astype(np.int64))
    return starts
