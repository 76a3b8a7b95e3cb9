"""Sizes and positions, computed alike for every loader."""

from __future__ import annotations

import math


def resized(width: int, height: int, shorter: int) -> tuple[int, int]:
    """Returns (width, height) after resizing the shorter side to `shorter`, the aspect ratio kept.

    The longer side is rounded half away from zero, as DALI's `resize_shorter` does.
    """
    scale = shorter / min(width, height)
    longer = max(1, math.floor(max(width, height) * scale + 0.5))
    return (longer, shorter) if width >= height else (shorter, longer)


def crop_start(position: float, length: int, crop: int) -> int:
    """Returns where a crop begins: each of the `length - crop + 1` places is equally likely.

    Args:
        position: Uniform in [0, 1).
        length: Side of the picture in pixels.
        crop: Side of the crop in pixels.
    """
    return min(length - crop, math.floor(position * (length - crop + 1)))
