"""A few pictures of a list as arrays, for checks and pictures."""

from __future__ import annotations

import numpy as np

from alexnet_fast.data import PictureList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.pillow_image import BadPictureError, Pixels, centre_square
from alexnet_fast.pipelines.place_bytes import picture_at
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
    return np.stack([_square(pictures, index, spec) for index in chosen.tolist()])


def _square(pictures: PictureList, index: int, spec: AugmentSpec) -> Pixels:
    """Returns the centre square of a picture."""
    try:
        return centre_square(picture_at(pictures, index), spec)
    except BadPictureError as error:
        raise UserError(f"cannot decode {pictures.path(index)}: {error}", "remove it") from error
