"""Any image as 8-bit RGB: levels scaled, transparency laid over a background, upright.

The one place where it is decided what a file's values mean, whoever reads it: both loaders, `prepare`,
`predict`, the server.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from alexnet_fast.pipelines.colour import Colour
from alexnet_fast.pipelines.orientation import orientation_of, turned, turns_by_itself

_SIXTEEN_BITS = 65535
# TIFF's tag PhotometricInterpretation, and its value where 0 is white.
_PHOTOMETRIC, _ZERO_IS_WHITE = 262, 0
# Modes of Pillow with an alpha of their own, and what they are turned into to be composited.
_WITH_ALPHA = {"RGBA": "RGBA", "LA": "LA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
# Levels between two neighbouring values of a PNG's grey, by Pillow's name of how it is stored.
_GREY_STEPS = {"L;2": 85, "L;4": 17}


def to_rgb(picture: Image.Image, background: Colour) -> Image.Image:
    """Returns an image as 8-bit RGB, upright.

    Args:
        picture: Of any mode; what Pillow has opened, loaded or not.
        background: Is seen where the image is transparent.

    Raises:
        ValueError: Its values have no scale that is known.
        Exception: Whatever Pillow raises for a damaged file (`pillow_image.DECODING_ERRORS`).
    """
    tile = getattr(picture, "tile", None)
    stored = tile[0].args if picture.format == "PNG" and tile else ""
    orientation = _left_to_us(picture)
    picture.load()
    if orientation is None:
        orientation = orientation_of(picture)
    return turned(_flat(picture, background, stored), orientation)


def _left_to_us(picture: Image.Image) -> int | None:
    """Returns the orientation that is still to be heeded once a TIFF is loaded; None of other formats.

    Pillow turns a TIFF by itself while it loads it, where it finds an orientation.
    """
    if picture.format != "TIFF":
        return None
    return 1 if turns_by_itself(picture) else orientation_of(picture)


def _flat(picture: Image.Image, background: Colour, stored: Any) -> Image.Image:
    """Returns an image as 8-bit RGB, as it lies."""
    transparent = picture.info.get("transparency")
    if picture.mode in _WITH_ALPHA:
        return _composited(picture.convert(_WITH_ALPHA[picture.mode]), background)
    if picture.mode == "P" and transparent is not None:
        return _composited(picture.convert("RGBA"), background)
    if picture.mode == "P" and picture.palette is not None and picture.palette.mode == "RGBA":
        return _composited(picture.convert("RGBA"), background)
    rgb = _opaque(picture)
    if transparent is None or picture.mode.startswith(("C", "Y", "F", "P")):
        return rgb
    visible = Image.fromarray(~_is_colour(picture, transparent, stored))
    return _over(rgb, visible, background)


def _opaque(picture: Image.Image) -> Image.Image:
    """Returns an image without transparency as 8-bit RGB."""
    if picture.mode.startswith("I"):
        return _from_integers(picture).convert("RGB")
    if picture.mode == "F":
        return _from_fractions(picture).convert("RGB")
    if picture.mode == "LAB":
        found = ImageCms.applyTransform(picture, _lab_to_srgb())
        assert found is not None
        return found
    return picture.convert("RGB")


@functools.lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    """Returns what turns CIELAB into sRGB, which Pillow's `convert` does not."""
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )


def _from_integers(picture: Image.Image) -> Image.Image:
    """Scales 16 bits to 8; Pillow's own conversion cuts everything above 255 off.

    Raises:
        ValueError: There are more bits, or a sign.
    """
    if picture.mode == "I" and picture.format == "TIFF":
        raise ValueError("integers of 32 bits, or with a sign, have no scale that is known")
    levels = np.asarray(picture).astype(np.float64)
    if levels.min() < 0 or levels.max() > _SIXTEEN_BITS:
        raise ValueError(f"levels from {levels.min():g} to {levels.max():g} are not those of 16 bits")
    return _from_shares(levels / _SIXTEEN_BITS, picture)


def _from_fractions(picture: Image.Image) -> Image.Image:
    """Scales floating-point numbers, of which 0 is black and 1 is white.

    Raises:
        ValueError: Some are beyond that, or not finite.
    """
    levels = np.asarray(picture).astype(np.float64)
    # Written so that NaN is refused.
    if not (levels.min() >= 0 and levels.max() <= 1):
        raise ValueError(
            f"floating-point levels from {levels.min():g} to {levels.max():g}, not 0 (black) to 1 (white)"
        )
    return _from_shares(levels, picture)


def _from_shares(shares: npt.NDArray[np.float64], picture: Image.Image) -> Image.Image:
    """Returns shares of white as a grey image of 8 bits."""
    tags = getattr(picture, "tag_v2", {})
    # Pillow turns levels round where 0 is white, but only those of 8 bits and less.
    if tags.get(_PHOTOMETRIC) == _ZERO_IS_WHITE:
        shares = 1 - shares
    return Image.fromarray((shares * 255 + 0.5).astype(np.uint8))


def _is_colour(picture: Image.Image, colour: Any, stored: Any) -> npt.NDArray[np.bool_]:
    """Tells which pixels have the one colour of an image that is transparent, bool (H, W).

    Args:
        picture: Grey, bilevel or RGB.
        colour: As the file has it.
        stored: Pillow's name of how a PNG stores its pixels.
    """
    pixels = np.asarray(picture)
    if isinstance(stored, str) and stored.startswith("RGB;16"):
        # Of 16-bit colours Pillow keeps the upper halves.
        colour = [part >> 8 for part in colour]
    elif stored in _GREY_STEPS:
        colour *= _GREY_STEPS[stored]
    elif picture.mode == "1":
        colour = bool(colour)
    equal: npt.NDArray[np.bool_] = (pixels == colour).reshape(*pixels.shape[:2], -1).all(axis=2)
    return equal


def _composited(picture: Image.Image, background: Colour) -> Image.Image:
    """Lays an image with an alpha channel over a background."""
    return _over(picture.convert("RGB"), picture.getchannel("A"), background)


def _over(picture: Image.Image, alpha: Image.Image, background: Colour) -> Image.Image:
    """Lays an RGB image over a background, as far as alpha says."""
    canvas = Image.new("RGB", picture.size, background)
    canvas.paste(picture, mask=alpha)
    return canvas
