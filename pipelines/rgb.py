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

from alexnet_fast.pipelines.color import Color
from alexnet_fast.pipelines.orientation import orientation_of, turned, turns_by_itself

_SIXTEEN_BITS = 65535
# TIFF's tag PhotometricInterpretation, and its value where 0 is white.
_PHOTOMETRIC, _ZERO_IS_WHITE = 262, 0
# Modes of Pillow with an alpha of their own, and what they are turned into to be composited.
_WITH_ALPHA = {"RGBA": "RGBA", "LA": "LA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
# Levels between two neighbouring values of a PNG's grey, by Pillow's name of how it is stored.
_GREY_STEPS = {"L;2": 85, "L;4": 17}


def to_rgb(image: Image.Image, background: Color) -> Image.Image:
    """Returns an image as 8-bit RGB, upright.

    Args:
        image: Of any mode; what Pillow has opened, loaded or not.
        background: Is seen where the image is transparent.

    Raises:
        ValueError: Its values have no scale that is known.
        Exception: Whatever Pillow raises for a damaged file (`pillow_image.DECODING_ERRORS`).
    """
    tile = getattr(image, "tile", None)
    stored = tile[0].args if image.format == "PNG" and tile else ""
    orientation = _left_to_us(image)
    image.load()
    if orientation is None:
        orientation = orientation_of(image)
    return turned(_flat(image, background, stored), orientation)


def _left_to_us(image: Image.Image) -> int | None:
    """Returns the orientation that is still to be heeded once a TIFF is loaded; None of other formats.

    Pillow turns a TIFF by itself while it loads it, where it finds an orientation.
    """
    if image.format != "TIFF":
        return None
    return 1 if turns_by_itself(image) else orientation_of(image)


def _flat(image: Image.Image, background: Color, stored: Any) -> Image.Image:
    """Returns an image as 8-bit RGB, as it lies."""
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
        found = ImageCms.applyTransform(image, _lab_to_srgb())
        assert found is not None
        return found
    return image.convert("RGB")


@functools.lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    """Returns what turns CIELAB into sRGB, which Pillow's `convert` does not."""
    return ImageCms.buildTransform(
        ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )


def _from_integers(image: Image.Image) -> Image.Image:
    """Scales 16 bits to 8; Pillow's own conversion cuts everything above 255 off.

    Raises:
        ValueError: There are more bits, or a sign.
    """
    if image.mode == "I" and image.format == "TIFF":
        raise ValueError("integers of 32 bits, or with a sign, have no scale that is known")
    levels = np.asarray(image).astype(np.float64)
    if levels.min() < 0 or levels.max() > _SIXTEEN_BITS:
        raise ValueError(f"levels from {levels.min():g} to {levels.max():g} are not those of 16 bits")
    return _from_shares(levels / _SIXTEEN_BITS, image)


def _from_fractions(image: Image.Image) -> Image.Image:
    """Scales floating-point numbers, of which 0 is black and 1 is white.

    Raises:
        ValueError: Some are beyond that, or not finite.
    """
    levels = np.asarray(image).astype(np.float64)
    # Written so that NaN is refused.
    if not (levels.min() >= 0 and levels.max() <= 1):
        raise ValueError(
            f"floating-point levels from {levels.min():g} to {levels.max():g}, not 0 (black) to 1 (white)"
        )
    return _from_shares(levels, image)


def _from_shares(shares: npt.NDArray[np.float64], image: Image.Image) -> Image.Image:
    """Returns shares of white as a grey image of 8 bits."""
    tags = getattr(image, "tag_v2", {})
    # Pillow turns levels round where 0 is white, but only those of 8 bits and less.
    if tags.get(_PHOTOMETRIC) == _ZERO_IS_WHITE:
        shares = 1 - shares
    return Image.fromarray((shares * 255 + 0.5).astype(np.uint8))


def _is_color(image: Image.Image, color: Any, stored: Any) -> npt.NDArray[np.bool_]:
    """Returns which pixels have the one transparent colour of an image, bool (H, W).

    Args:
        image: Grey, bilevel or RGB.
        color: As the file has it.
        stored: Pillow's name of how a PNG stores its pixels.
    """
    pixels = np.asarray(image)
    if isinstance(stored, str) and stored.startswith("RGB;16"):
        # Of 16-bit colours Pillow keeps the upper halves.
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
    """Lays an RGB image over a background, as far as alpha says."""
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=alpha)
    return canvas
