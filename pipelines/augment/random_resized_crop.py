"""Random-resized-crop: a random area of a random shape, resized to the network's input."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.geometry import crop_starts
from alexnet_fast.utils.arrays import Floats, Integers

# Attempts to draw an area before the centre is used (torchvision.transforms.RandomResizedCrop).
TRIES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomResizedCrop:
    """Bounds of the area and of its shape; the defaults are torchvision's, after Szegedy et al. 2014.

    Args:
        min_scale: Smallest fraction of the image's pixels.
        max_scale: Largest fraction.
        min_ratio: Smallest width over height.
        max_ratio: Largest width over height.

    Raises:
        UserError: The bounds leave no area.
    """

    min_scale: float = 0.08
    max_scale: float = 1.0
    min_ratio: float = 3 / 4
    max_ratio: float = 4 / 3

    def __post_init__(self) -> None:
        if not 0 < self.min_scale <= self.max_scale <= 1:
            raise UserError(
                f"--crop-min-scale {self.min_scale:g} is no fraction of an image",
                f"give a number above 0 and up to {self.max_scale:g}",
                exit_code=2,
            )
        if not 0 < self.min_ratio <= self.max_ratio:
            raise UserError(
                f"the shapes {self.min_ratio:g} to {self.max_ratio:g} are no range of aspect ratios"
            )


def random_boxes(
    sizes: Integers, places: Floats, tries: Floats, bounds: RandomResizedCrop
) -> tuple[Integers, Integers]:
    """Chooses the area of each image, as torchvision defines it.

    A fraction of the pixels is drawn uniformly and an aspect ratio uniformly on a logarithmic scale, ten
    times; the first area that fits is used, at a uniformly drawn position. If none fits, the largest central
    area whose aspect ratio is within the bounds is used.

    Args:
        sizes: (B, 2), height and width of the upright images.
        places: (B, 2), vertical and horizontal position in [0, 1).
        tries: (B, 2 * TRIES) in [0, 1): the fractions, then the aspect ratios.
        bounds: Bounds of fraction and aspect ratio.

    Returns:
        Top left corner and size of each area, int64 (B, 2), (row, column).
    """
    lengths = sizes.astype(np.float64)
    chosen = _fitting(lengths, tries.astype(np.float64), bounds)
    fits = chosen[:, 0] > 0
    extent = np.where(fits[:, None], chosen, _middle(sizes, bounds))
    corner = np.where(fits[:, None], crop_starts(places, sizes, extent), (sizes - extent) // 2)
    return corner, extent


def _fitting(
    lengths: npt.NDArray[np.float64], tries: npt.NDArray[np.float64], bounds: RandomResizedCrop
) -> Integers:
    """Returns (height, width) of the first try that fits, (0, 0) if none does."""
    scale = bounds.min_scale + tries[:, :TRIES] * (bounds.max_scale - bounds.min_scale)
    low, high = math.log(bounds.min_ratio), math.log(bounds.max_ratio)
    ratio = np.exp(low + tries[:, TRIES:] * (high - low))
    area = scale * lengths.prod(axis=1, keepdims=True)
    extents = np.stack([np.rint(np.sqrt(area / ratio)), np.rint(np.sqrt(area * ratio))], axis=2)
    fits = np.logical_and.reduce((extents > 0) & (extents <= lengths[:, None]), axis=2)
    rows = np.arange(len(lengths))
    first = fits.argmax(axis=1)
    chosen: Integers = (extents[rows, first] * fits[rows, first, None]).astype(np.int64)
    return chosen


def _middle(sizes: Integers, bounds: RandomResizedCrop) -> Integers:
    """Returns (height, width) of the largest central area whose aspect ratio is within the bounds."""
    height, width = sizes[:, 0], sizes[:, 1]
    ratio = width / np.maximum(height, 1)
    tall = np.where(ratio < bounds.min_ratio, np.rint(width / bounds.min_ratio), height)
    wide = np.where(ratio > bounds.max_ratio, np.rint(height * bounds.max_ratio), width)
    return np.stack([np.minimum(tall, height), np.minimum(wide, width)], axis=1).astype(np.int64)
