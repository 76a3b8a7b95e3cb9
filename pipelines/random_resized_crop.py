"""Random-resized-crop: a random area of a random shape, resized to the network's input."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.geometry import crop_starts
from alexnet_fast.utils.arrays import Floats, Integers

# How often an area is tried before the centre is taken (torchvision.transforms.RandomResizedCrop).
TRIES = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomResizedCrop:
    """Bounds of the area and of its shape; the defaults are torchvision's, after Szegedy et al. 2014.

    Args:
        min_scale: Smallest share of the image's pixels.
        max_scale: Largest share.
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
                f"--crop-min-scale {self.min_scale:g} is no share of an image",
                f"give a number above 0 and up to {self.max_scale:g}",
                exit_code=2,
            )
        if not 0 < self.min_ratio <= self.max_ratio:
            raise UserError(f"the shapes {self.min_ratio:g} to {self.max_ratio:g} are no range")


def random_boxes(
    sizes: Integers, places: Floats, tries: Floats, bounds: RandomResizedCrop
) -> tuple[Integers, Integers]:
    """Chooses the area of each image, as torchvision defines it.

    A share of the pixels is drawn evenly and a width over height evenly on a logarithmic scale, ten times;
    the first area that fits is taken, at an evenly drawn place. Where none fits it is the largest area in
    the middle whose shape is within the bounds.

    Args:
        sizes: (B, 2), height and width of the upright images.
        places: (B, 2), vertical and horizontal place in [0, 1).
        tries: (B, 2 * TRIES) in [0, 1): the shares, then the shapes.
        bounds: Of share and shape.

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
    """Returns (height, width) of the first of the tries that fits, (0, 0) where none does."""
    share = bounds.min_scale + tries[:, :TRIES] * (bounds.max_scale - bounds.min_scale)
    low, high = math.log(bounds.min_ratio), math.log(bounds.max_ratio)
    shape = np.exp(low + tries[:, TRIES:] * (high - low))
    area = share * lengths.prod(axis=1, keepdims=True)
    extents = np.stack([np.rint(np.sqrt(area / shape)), np.rint(np.sqrt(area * shape))], axis=2)
    fits = np.logical_and.reduce((extents > 0) & (extents <= lengths[:, None]), axis=2)
    rows = np.arange(len(lengths))
    first = fits.argmax(axis=1)
    found: Integers = (extents[rows, first] * fits[rows, first, None]).astype(np.int64)
    return found


def _middle(sizes: Integers, bounds: RandomResizedCrop) -> Integers:
    """Returns (height, width) of the largest area in the middle whose shape is within the bounds."""
    height, width = sizes[:, 0], sizes[:, 1]
    ratio = width / np.maximum(height, 1)
    tall = np.where(ratio < bounds.min_ratio, np.rint(width / bounds.min_ratio), height)
    wide = np.where(ratio > bounds.max_ratio, np.rint(height * bounds.max_ratio), width)
    return np.stack([np.minimum(tall, height), np.minimum(wide, width)], axis=1).astype(np.int64)
