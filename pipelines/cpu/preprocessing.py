"""The served preprocessing as a function: an image of any kind in, the pixels of the evaluation view out.

Imports neither torch nor DALI.
"""

from __future__ import annotations

import io
import os
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.color import Colour
from alexnet_fast.pipelines.cpu.pillow import (
    BadImageError,
    Pixels,
    as_rgb,
    centre_crop,
    centre_square,
    decode,
)
from alexnet_fast.pipelines.spec import AugmentSpec

ImageSource = str | os.PathLike[str] | bytes | Image.Image | Pixels


def preprocess(
    image: ImageSource, spec: AugmentSpec, view: Literal["centre", "square"] = "centre"
) -> npt.NDArray[Any]:
    """Turns one image into what a network takes, as the loaders do for evaluation.

    Args:
        image: A path, an encoded file as bytes, a Pillow image, or uint8 (H, W), (H, W, 3) or (H, W, 4).
        spec: Sizes and normalisation of the model.
        view: "centre" for the network itself, "square" for an exported graph, which crops and normalises.

    Returns:
        float32 (3, crop, crop), or for "square" uint8 (resize, resize, 3). `np.stack` makes a batch of them,
        `torch.from_numpy` a tensor.

    Raises:
        UserError: It cannot be decoded, is no image, or is too narrow.
    """
    name = os.fspath(image) if isinstance(image, str | os.PathLike) else "the image"
    try:
        rgb = _rgb(image, spec.background)
        if view == "square":
            return centre_square(rgb, spec)
        return normalise(centre_crop(rgb, spec), spec).transpose(2, 0, 1)
    except BadImageError as error:
        raise UserError(f"cannot decode {name}: {error}", "give another image") from error


def normalise(pixels: Pixels, spec: AugmentSpec) -> npt.NDArray[np.float32]:
    """Subtracts the mean and divides by the standard deviation, as `normalisation` does to batches.

    Args:
        pixels: uint8 (H, W, 3).
        spec: Mean and standard deviation.

    Returns:
        float32 (H, W, 3).
    """
    centred = pixels.astype(np.float32) - np.array(spec.mean, np.float32)
    centred /= np.array(spec.std, np.float32)
    return centred


def _rgb(image: ImageSource, background: Colour) -> Image.Image:
    """Returns an upright RGB image."""
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    if isinstance(image, Image.Image):
        return as_rgb(image, background)
    return decode(io.BytesIO(image) if isinstance(image, bytes) else image, background)


def _from_array(pixels: Pixels) -> Image.Image:
    """Makes a Pillow image of an array.

    Raises:
        UserError: It has not the shape or type of an image.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in (1, 3, 4) or not pixels.size:
        raise UserError(
            f"an array of {pixels.dtype} {pixels.shape} is no image",
            "give uint8 (height, width, 3) in RGB order",
        )
    return Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and channels == 1 else pixels)
