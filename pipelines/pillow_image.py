"""The same preprocessing with Pillow and numpy: for `--no-dali`, for serving and as DALI's reference.

Imports neither torch nor DALI.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from alexnet_fast.errors import system_reason
from alexnet_fast.pipelines.colour import WHITE, Colour
from alexnet_fast.pipelines.geometry import crop_starts, resized
from alexnet_fast.pipelines.plan import AREAS, PLACE
from alexnet_fast.pipelines.resized_crop import RandomResizedCrop, random_boxes
from alexnet_fast.pipelines.rgb import to_rgb
from alexnet_fast.pipelines.spec import AugmentSpec

Pixels = npt.NDArray[np.uint8]

# Where Pillow begins to warn of decompression bombs; three bytes a pixel make a quarter of a gigabyte.
MAX_PIXELS = 89_478_485

# The readers that may open a file, whatever it is called. Some of Pillow's others start programs (EPS runs
# Ghostscript).
FORMATS = ("JPEG", "JPEG2000", "PNG", "BMP", "DIB", "TIFF", "WEBP", "PPM", "GIF")


# What Pillow raises for damaged files, by format.
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class BadPictureError(Exception):
    """A file that cannot be decoded; the message is the reason alone."""


def decode(source: str | os.PathLike[str] | IO[bytes], background: Colour = WHITE) -> Image.Image:
    """Decodes a picture to RGB, upright.

    Args:
        source: A file.
        background: Is seen where the picture is transparent.

    Raises:
        BadPictureError: It cannot be opened or decoded, or is larger than `MAX_PIXELS`.
    """
    try:
        if isinstance(source, str | os.PathLike):
            # A TIFF that it opens by its name Pillow 13 maps, in a wrong shape where it is to be turned.
            with Path(source).open("rb") as file:
                return decode(file, background)
        with _opened(source) as picture:
            return to_rgb(picture, background)
    except DECODING_ERRORS as error:
        raise BadPictureError(reason_of(error)) from error


def as_rgb(picture: Image.Image, background: Colour) -> Image.Image:
    """Returns a picture that Pillow has opened as RGB, upright.

    Raises:
        BadPictureError: It cannot be decoded.
    """
    try:
        return to_rgb(picture, background)
    except DECODING_ERRORS as error:
        raise BadPictureError(reason_of(error)) from error


def _opened(source: IO[bytes]) -> Image.Image:
    """Opens a picture.

    Raises:
        BadPictureError: It is larger than `MAX_PIXELS`.
    """
    # Threads may come between each other's filters of warnings; what is too large is refused by its size.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = Image.open(source, formats=FORMATS)
    if math.prod(picture.size) > MAX_PIXELS:
        picture.close()
        raise BadPictureError(
            f"{picture.width} x {picture.height} are {math.prod(picture.size)} pixels, more than {MAX_PIXELS}"
        )
    return picture


def reason_of(error: BaseException) -> str:
    """Returns why a file could not be read, without the file's name."""
    if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError):
        return system_reason(error)
    if isinstance(error, UnidentifiedImageError):
        return "not a picture"
    return str(error).strip() or type(error).__name__


def shrink(picture: Image.Image, spec: AugmentSpec) -> Image.Image:
    """Resizes the shorter side to `spec.resize` with an antialiased triangle filter.

    Beyond its border a picture goes on with the colour of the border, as in DALI; Pillow by itself gives the
    pixels inside more weight there, which differs by up to 15 levels.

    Raises:
        BadPictureError: It is so narrow that it would have more than `MAX_PIXELS`.
    """
    size = resized(*picture.size, spec.resize)
    if math.prod(size) > MAX_PIXELS:
        raise BadPictureError(too_large(picture.size, size))
    return _scaled(picture, size)


def too_large(size: tuple[int, int], resized: tuple[int, int]) -> str:
    """Says of a picture, by its width and height, that it would grow too large."""
    return f"{size[0]} x {size[1]} would become {resized[0]} x {resized[1]}, which is too large"


def _scaled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resizes a picture to (width, height) with an antialiased triangle filter, as `shrink` says."""
    width, height = picture.size
    if size == picture.size:
        return picture
    reach = math.ceil(max(width / size[0], height / size[1], 1.0))
    padded = np.pad(np.asarray(picture), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    box = (reach, reach, reach + width, reach + height)
    return Image.fromarray(padded).resize(size, Image.Resampling.BILINEAR, box=box)


def centre_square(picture: Image.Image, spec: AugmentSpec) -> Pixels:
    """Returns the centre square of a picture, uint8 (resize, resize, 3), RGB: what ten crops are cut from."""
    small = shrink(picture, spec)
    return _cut(small, (small.width - spec.resize) // 2, (small.height - spec.resize) // 2, spec.resize)


def centre_crop(picture: Image.Image, spec: AugmentSpec) -> Pixels:
    """Returns the centre crop of a picture, uint8 (crop, crop, 3), RGB: the single crop of evaluation."""
    small = shrink(picture, spec)
    return _cut(small, (small.width - spec.crop) // 2, (small.height - spec.crop) // 2, spec.crop)


def training_crop(picture: Image.Image, spec: AugmentSpec, draw: npt.NDArray[np.float32]) -> Pixels:
    """Returns the training crop that a draw chooses (see `plan.BatchPlan`), not mirrored yet.

    The result is uint8 (crop, crop, 3).
    """
    if spec.random_resized_crop is not None:
        return _resized_area(picture, spec, spec.random_resized_crop, draw[None])
    small = shrink(picture, spec)
    top, left = crop_starts(draw[PLACE], np.array([small.height, small.width]), spec.crop).tolist()
    return _cut(small, left, top, spec.crop)


def _resized_area(
    picture: Image.Image, spec: AugmentSpec, bounds: RandomResizedCrop, draws: npt.NDArray[np.float32]
) -> Pixels:
    """Returns the random area of a picture that its draws, float32 (1, ...), choose, resized."""
    size = np.array([[picture.height, picture.width]])
    corner, extent = random_boxes(size, draws[:, PLACE], draws[:, AREAS], bounds)
    (top, left), (height, width) = corner[0].tolist(), extent[0].tolist()
    area = picture.crop((left, top, left + width, top + height))
    return np.asarray(_scaled(area, (spec.crop, spec.crop)))


def _cut(picture: Image.Image, left: int, top: int, side: int) -> Pixels:
    """Returns a square of a picture as an array."""
    return np.asarray(picture.crop((left, top, left + side, top + side)))
