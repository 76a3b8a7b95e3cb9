"""Read the orientation of an image, from every place that can hold it, and turn the image upright.

EXIF takes precedence over XMP; a value out of range counts as missing; `serve/cpp/src/orientation.cpp` does
the same.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from PIL import Image

_TAG = 0x0112
# As an attribute or an element of XMP.
_XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([0-9])""")
_XMP_KEYS = ("XML:com.adobe.xmp", "xmp")
# Where ImageMagick puts the segments of a JPEG in a PNG: three lines of head, then hexadecimal digits.
_RAW_EXIF = ("Raw profile type exif", "Raw profile type APP1")
_RAW_XMP = ("Raw profile type xmp", "Raw profile type APP1")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Exceptions of Pillow for damaged metadata, which do not make an image bad.
_DAMAGED = (SyntaxError, ValueError, KeyError, IndexError, TypeError, OverflowError, EOFError, struct.error)


def orientation_of(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 if the file has none."""
    return _exif_orientation(image) or _xmp_orientation(image.info) or 1


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Returns an image turned and mirrored so that one of this orientation is upright."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def turns_by_itself(image: Image.Image) -> bool:
    """Returns whether Pillow finds an orientation that turns or mirrors."""
    try:
        return image.getexif().get(_TAG) in _TURNS
    except _DAMAGED:
        return False


def _exif_orientation(image: Image.Image) -> int:
    """Returns the orientation in EXIF, 0 if there is none."""
    try:
        orientation = _valid(image.getexif().get(_TAG))
    except _DAMAGED:
        orientation = 0
    if orientation:
        return orientation
    for key in _RAW_EXIF:
        exif = Image.Exif()
        try:
            exif.load(_raw_profile(image.info.get(key)))
            orientation = orientation or _valid(exif.get(_TAG))
        except _DAMAGED:
            continue
    return orientation


def _valid(value: Any) -> int:
    """Returns a valid orientation, 0 for anything else."""
    if isinstance(value, bytes) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, int) and 1 <= value <= 8 else 0


def _xmp_orientation(info: dict[Any, Any]) -> int:
    """Returns the orientation in XMP, 0 if there is none."""
    texts = [info.get(key) or b"" for key in _XMP_KEYS] + [_raw_profile(info.get(key)) for key in _RAW_XMP]
    for text in texts:
        content = text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)
        # Without the zeros, UTF-16 reads like ASCII.
        match = _XMP.search(content.replace(b"\0", b""))
        if match and (orientation := _valid(int(match[1]))):
            return orientation
    return 0


def _raw_profile(text: str | None) -> bytes:
    """Returns the bytes of one of ImageMagick's profiles; none if it is damaged."""
    try:
        return bytes.fromhex("".join((text or "").split("\n")[3:]))
    except ValueError:
        return b""
