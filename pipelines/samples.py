"""A few images of a list as arrays, for checks and images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from alexnet_fast.data import ImageList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import BadImageError, centre_square, decode
from alexnet_fast.pipelines.io import image_at
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Pixels


def sample_squares(images: ImageList, spec: AugmentSpec, count: int) -> Pixels:
    """Returns the centre squares of images spread evenly over a list.

    Args:
        images: The list.
        spec: Sizes.
        count: How many; all where the list has fewer.

    Returns:
        uint8 (count, resize, resize, 3), RGB.

    Raises:
        UserError: One of them cannot be decoded.
    """
    return np.stack([square_at(images, index, spec) for index in spread(len(images), count)])


def spread(length: int, count: int) -> list[int]:
    """Returns places spread evenly over a list, first and last among them; all where it has fewer."""
    chosen: list[int] = np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()
    return chosen


def square_at(images: ImageList, index: int, spec: AugmentSpec) -> Pixels:
    """Returns the centre square of an image of a list; see `square_of`."""
    return _square(images.path(index), spec, lambda _: image_at(images, index, spec.background))


def square_of(path: str, spec: AugmentSpec) -> Pixels:
    """Returns the centre square of a file, uint8 (resize, resize, 3), RGB.

    Raises:
        UserError: It cannot be decoded.
    """
    return _square(path, spec, lambda file: decode(file, spec.background))


def _square(path: str, spec: AugmentSpec, opened: Callable[[str], Image.Image]) -> Pixels:
    """Returns the centre square of what is opened under a name."""
    try:
        return centre_square(opened(path), spec)
    except BadImageError as error:
        raise UserError(f"cannot decode {path}: {error}", "give another image, or remove it") from error
