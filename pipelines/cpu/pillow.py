"""Decode and preprocess with Pillow and NumPy: for `--no-dali`, for serving, and as DALI's reference.

Imports neither torch nor DALI.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.pipelines.augment.random_resized_crop import RandomResizedCrop, random_boxes
from alexnet_fast.pipelines.color import WHITE, Color
from alexnet_fast.pipelines.geometry import crop_starts, resized
from alexnet_fast.pipelines.rgb import to_rgb
from alexnet_fast.pipelines.sampler import AREAS, PLACE
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Pixels
from alexnet_fast.utils.special_files import open_given

# Limit at which Pillow warns of decompression bombs; at three bytes per pixel a quarter of a gigabyte.
MAX_PIXELS = 89_478_485

# Formats that may be opened, whatever the file is called. Some of Pillow's other readers start programs (EPS
# runs Ghostscript).
FORMATS = ("JPEG", "JPEG2000", "PNG", "BMP", "DIB", "TIFF", "WEBP", "PPM", "GIF")


# Exceptions that Pillow raises for damaged files of the different formats.
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


class BadImageError(Exception):
    """A file that cannot be decoded; the message is the reason alone."""


def decode(
    source: str | os.PathLike[str] | IO[bytes] | Image.Image, background: Color = WHITE
) -> Image.Image:
    """Decodes an image to RGB, upright.

    Args:
        source: Path, open file, or an image that Pillow has opened.
        background: Colour behind transparent parts.

    Raises:
        BadImageError: The image cannot be opened or decoded, or exceeds `MAX_PIXELS`.
    """
    try:
        if isinstance(source, str | os.PathLike):
            # The path may be a pipe, on which Pillow would wait for ever. And Pillow 13 maps a TIFF that it
            # opens by name, in a wrong shape if the image has to be turned.
            with open_given(Path(source)) as file:
                return decode(file, background)
        if isinstance(source, Image.Image):
            return to_rgb(source, background)
        with _opened(source) as image:
            return to_rgb(image, background)
    except DECODING_ERRORS as error:
        raise BadImageError(reason_of(error)) from error


def _opened(source: IO[bytes]) -> Image.Image:
    """Opens an image.

    Raises:
        BadImageError: The image exceeds `MAX_PIXELS`.
    """
    # Threads may overwrite each other's warning filters, so the size is checked below.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(source, formats=FORMATS)
    if math.prod(image.size) > MAX_PIXELS:
        image.close()
        raise BadImageError(
            f"{image.width} x {image.height} are {math.prod(image.size)} pixels, more than {MAX_PIXELS}"
        )
    return image


def reason_of(error: BaseException) -> str:
    """Returns why a file could not be read, without the file's name."""
    if isinstance(error, OSError) and error.strerror:
        return system_reason(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return str(error).strip() or type(error).__name__


def shrink(image: Image.Image, spec: AugmentSpec) -> Image.Image:
    """Resizes the shorter side to `spec.resize` with an antialiased triangle filter.

    Beyond its border an image is extended with the colour of the border, as in DALI; Pillow by itself gives
    the pixels inside more weight there, which differs by up to 15 levels.

    Raises:
        BadImageError: The image is so narrow that the result would exceed `MAX_PIXELS`.
    """
    size = resized(*image.size, spec.resize)
    if math.prod(size) > MAX_PIXELS:
        raise BadImageError(too_large(image.size, size))
    return _scaled(image, size)


def too_large(size: tuple[int, int], resized: tuple[int, int]) -> str:
    """Returns the reason why an image of some width and height would become too large."""
    return f"{size[0]} x {size[1]} would become {resized[0]} x {resized[1]}, which is too large"


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resizes an image to (width, height) with an antialiased triangle filter, as `shrink` says."""
    width, height = image.size
    if size == image.size:
        return image
    reach = math.ceil(max(width / size[0], height / size[1], 1.0))
    padded = np.pad(np.asarray(image), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    box = (reach, reach, reach + width, reach + height)
    return Image.fromarray(padded).resize(size, Image.Resampling.BILINEAR, box=box)


def centre_square(image: Image.Image, spec: AugmentSpec) -> Pixels:
    """Returns the centre square of an image, uint8 (resize, resize, 3), RGB, for ten crops."""
    small = shrink(image, spec)
    return _cut(small, (small.width - spec.resize) // 2, (small.height - spec.resize) // 2, spec.resize)


def centre_crop(image: Image.Image, spec: AugmentSpec) -> Pixels:
    """Returns the centre crop of an image, uint8 (crop, crop, 3), RGB: the single crop of evaluation."""
    small = shrink(image, spec)
    return _cut(small, (small.width - spec.crop) // 2, (small.height - spec.crop) // 2, spec.crop)


def training_crop(image: Image.Image, spec: AugmentSpec, random_params: npt.NDArray[np.float32]) -> Pixels:
    """Returns the training crop that random parameters choose, uint8 (crop, crop, 3), not mirrored yet.

    `random_params` is one row of `sampler.BatchIndices.random_params`.
    """
    if spec.random_resized_crop is not None:
        return _resized_area(image, spec, spec.random_resized_crop, random_params[None])
    small = shrink(image, spec)
    top, left = crop_starts(random_params[PLACE], np.array([small.height, small.width]), spec.crop).tolist()
    return _cut(small, left, top, spec.crop)


def _resized_area(
    image: Image.Image, spec: AugmentSpec, bounds: RandomResizedCrop, random_params: npt.NDArray[np.float32]
) -> Pixels:
    """Returns the random area of an image chosen by its random parameters, float32 (1, ...), resized."""
    size = np.array([[image.height, image.width]])
    corner, extent = random_boxes(size, random_params[:, PLACE], random_params[:, AREAS], bounds)
    (top, left), (height, width) = corner[0].tolist(), extent[0].tolist()
    area = image.crop((left, top, left + width, top + height))
    return np.asarray(_scaled(area, (spec.crop, spec.crop)))


def _cut(image: Image.Image, left: int, top: int, side: int) -> Pixels:
    """Returns a square of an image as an array."""
    return np.asarray(image.crop((left, top, left + side, top + side)))


ImageSource = str | os.PathLike[str] | bytes | Image.Image | Pixels


def preprocess(
    image: ImageSource, spec: AugmentSpec, view: Literal["eval", "square"] = "eval"
) -> npt.NDArray[Any]:
    """Turns one image into the input of a network, as the loaders do for evaluation.

    Args:
        image: A path, an encoded file as bytes, a Pillow image, or uint8 (H, W), (H, W, 3) or (H, W, 4).
        spec: Sizes and normalisation of the model.
        view: "eval" for the network itself, "square" for an exported graph, which crops and normalises.

    Returns:
        float32 (3, crop, crop), or for "square" uint8 (resize, resize, 3). `np.stack` makes a batch of them,
        `torch.from_numpy` a tensor.

    Raises:
        UserError: The image cannot be decoded or is too narrow, or the array is no image.
    """
    with naming(os.fspath(image) if isinstance(image, str | os.PathLike) else "the image"):
        if view == "square":
            return to_square(image, spec)
        return normalize(centre_crop(_rgb(image, spec.background), spec), spec).transpose(2, 0, 1)


def to_square(image: ImageSource, spec: AugmentSpec) -> Pixels:
    """Turns one image into the centre square that an exported graph takes; see `preprocess`.

    Returns:
        uint8 (resize, resize, 3), RGB.

    Raises:
        BadImageError: The image cannot be decoded or is too narrow; the message is the reason alone.
        UserError: The array is no image.
    """
    return centre_square(_rgb(image, spec.background), spec)


@contextlib.contextmanager
def naming(image: str | os.PathLike[str]) -> Iterator[None]:
    """Turns the reason why an image cannot be decoded into an error that names the image.

    Raises:
        UserError: The block raised `BadImageError`.
    """
    try:
        yield
    except BadImageError as error:
        raise UserError(f"cannot decode {image}: {error}", "give another image, or remove it") from error


def normalize(pixels: Pixels, spec: AugmentSpec) -> npt.NDArray[np.float32]:
    """Subtracts the mean and divides by the standard deviation, as `finish.normalize` does for batches.

    Args:
        pixels: uint8 (H, W, 3).
        spec: Mean and standard deviation.

    Returns:
        float32 (H, W, 3).
    """
    centred = pixels.astype(np.float32) - np.array(spec.mean, np.float32)
    centred /= np.array(spec.std, np.float32)
    return centred


def _rgb(image: ImageSource, background: Color) -> Image.Image:
    """Returns an upright RGB image."""
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    return decode(io.BytesIO(image) if isinstance(image, bytes) else image, background)


def _from_array(pixels: Pixels) -> Image.Image:
    """Turns an array into a Pillow image.

    Raises:
        UserError: The array does not have the shape or type of an image.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 3, 4) or not pixels.size:
        raise UserError(
            f"an array of {pixels.dtype} {pixels.shape} is no image",
            "give uint8 (height, width, 3) in RGB order",
        )
    return Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels)
