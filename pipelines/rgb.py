"""Convert any image to upright 8-bit RGB: scale its levels, lay transparency over a background.

The single interpretation of a file's values, for both loaders, `prepare`, `predict` and the server.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from alexnet_fast.pipelines.color import Color
from alexnet_fast.pipelines.orientation import orientation_of, turned, turns_by_itself

_SIXTEEN_BITS = 65535
# TIFF's tag PhotometricInterpretation, and its value for "0 is white".
_PHOTOMETRIC, _ZERO_IS_WHITE = 262, 0
# Pillow's modes with an alpha channel, and the modes that they are converted to for compositing.
_WITH_ALPHA = {"RGBA": "RGBA", "LA": "LA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
# Levels between two neighbouring grey values of a PNG, by Pillow's name of the stored form.
_GREY_STEPS = {"L;2": 85, "L;4": 17}


def to_rgb(image: Image.Image, background: Color) -> Image.Image:
    """Returns an image as 8-bit RGB, upright.

    Args:
        image: Image of any mode that Pillow has opened, loaded or not.
        background: Colour behind transparent parts.

    Raises:
        ValueError: The scale of its values is unknown.
        Exception: Whatever Pillow raises for a damaged file (`cpu.pillow.DECODING_ERRORS`).
    """
    tile = getattr(image, "tile", None)
    stored = tile[0].args if image.format == "PNG" and tile else ""
    orientation = _remaining_orientation(image)
    image.load()
    if orientation is None:
        orientation = orientation_of(image)
    return turned(_flat(image, background, stored), orientation)


def _remaining_orientation(image: Image.Image) -> int | None:
    """Returns the orientation that remains to be applied once a TIFF is loaded; None for other formats.

    Pillow applies an orientation that it finds in a TIFF while it loads the file.
    """
    if image.format != "TIFF":
        return None
    return 1 if turns_by_itself(image) else orientation_of(image)


def _flat(image: Image.Image, background: Color, stored: Any) -> Image.Image:
    """Returns an image as 8-bit RGB, without turning it."""
    transparent = image.info.get("transparency")
    if image.mode in _WITH_ALPHA:
        return _composited(image.convert(_WITH_ALPHA[image.mode]), background)
    if image.mode == "P" and transparent is not None:
        return _composited(image.convert("RGBA"), background)
    if image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA":
        return _composited(image.convert("RGBA"), background)
    rgb = _opaque(image)
    if transparent is None or image.mode.startswith(("C", "Y", "F", "P")):
        return rgb
    visible = Image.fromarray(~_is_color(image, transparent, stored))
    return _over(rgb, visible, background)


def _opaque(image: Image.Image) -> Image.Image:
    """Returns an image without transparency as 8-bit RGB."""
    if image.mode.startswith("I"):
        return _from_integers(image).convert("RGB")
    if image.mode == "F":
        return _from_fractions(image).convert("RGB")
    if image.mode == "LAB":
        rgb = ImageCms.applyTransform(image, _lab_to_srgb())
        assert rgb is not None
        return rgb
    return image.convert("RGB")


@functools.lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    """Returns the transform from CIELAB to sRGB, which Pillow's `convert` lacks."""
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )


def _from_integers(image: Image.Image) -> Image.Image:
    """Scales 16 bits to 8; Pillow's own conversion clips everything above 255.

    Raises:
        ValueError: The values have more bits, or a sign.
    """
    if image.mode == "I" and image.format == "TIFF":
        raise ValueError("integers of 32 bits, or with a sign, have no known scale")
    levels = np.asarray(image).astype(np.float64)
    if levels.min() < 0 or levels.max() > _SIXTEEN_BITS:
        raise ValueError(f"levels from {levels.min():g} to {levels.max():g} are not those of 16 bits")
    return _from_unit(levels / _SIXTEEN_BITS, image)


def _from_fractions(image: Image.Image) -> Image.Image:
    """Scales floating-point values, of which 0 is black and 1 is white.

    Raises:
        ValueError: A value is out of this range or not finite.
    """
    levels = np.asarray(image).astype(np.float64)
    # NaN fails both comparisons and is refused.
    if not (levels.min() >= 0 and levels.max() <= 1):
        raise ValueError(
            f"floating-point levels from {levels.min():g} to {levels.max():g}, not 0 (black) to 1 (white)"
        )
    return _from_unit(levels, image)


def _from_unit(levels: npt.NDArray[np.float64], image: Image.Image) -> Image.Image:
    """Returns values from 0 (black) to 1 (white) as an 8-bit grey image."""
    tags = getattr(image, "tag_v2", {})
    # Pillow inverts images with "0 is white", but only those of 8 bits or fewer.
    if tags.get(_PHOTOMETRIC) == _ZERO_IS_WHITE:
        levels = 1 - levels
    return Image.fromarray((levels * 255 + 0.5).astype(np.uint8))


def _is_color(image: Image.Image, color: Any, stored: Any) -> npt.NDArray[np.bool_]:
    """Returns which pixels have the one transparent colour of an image, bool (H, W).

    Args:
        image: Grey, bilevel or RGB.
        color: The transparent colour as stored in the file.
        stored: Pillow's name of the form in which a PNG stores its pixels.
    """
    pixels = np.asarray(image)
    if isinstance(stored, str) and stored.startswith("RGB;16"):
        # Pillow keeps the upper halves of 16-bit colours.
        color = [part >> 8 for part in color]
    elif stored in _GREY_STEPS:
        color *= _GREY_STEPS[stored]
    elif image.mode == "1":
        color = bool(color)
    equal: npt.NDArray[np.bool_] = (pixels == color).reshape(*pixels.shape[:2], -1).all(axis=2)
    return equal


def _composited(image: Image.Image, background: Color) -> Image.Image:
    """Lays an image with an alpha channel over a background."""
    return _over(image.convert("RGB"), image.getchannel("A"), background)


def _over(image: Image.Image, alpha: Image.Image, background: Color) -> Image.Image:
    """Blends an RGB image over a background by its alpha channel."""
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=alpha)
    return canvas
