"""A few pictures of a list as arrays, for checks and pictures."""

from __future__ import annotations

import numpy as np

from alexnet_fast.data import PictureList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.pillow_image import BadPictureError, Pixels, centre_square, decode
from alexnet_fast.pipelines.spec import AugmentSpec


def sample_squares(pictures: PictureList, spec: AugmentSpec, count: int) -> Pixels:
    """Returns the centre squares of pictures spread evenly over a list.

    Args:
        pictures: The list.
        spec: Sizes.
        count: How many; all where the list has fewer.

    Returns:
        uint8 (count, resize, resize, 3), RGB.

    Raises:
        UserError: One of them cannot be decoded.
    """
    chosen = np.linspace(0, len(pictures) - 1, min(count, len(pictures))).round().astype(int)
    return np.stack([square_of(pictures.path(index), spec) for index in chosen])


def square_of(path: str, spec: AugmentSpec) -> Pixels:
    """Returns the centre square of a file, uint8 (resize, resize, 3), RGB.

    Raises:
        UserError: It cannot be decoded.
    """
    try:
        return centre_square(decode(path), spec)
    except BadPictureError as error:
        raise UserError(f"cannot decode {path}: {error}", "give another picture, or remove it") from error
