"""JPEG files that DALI's decoder is trusted with, told by their headers.

A list of what is allowed, not of what is forbidden: a file whose header is unusual in any way is left to
Pillow. A header that passes here is one that neither decoder stumbles over, and that means the same to both.

The layout is that of ITU-T T.81 annex B; EXIF's is that of CIPA DC-008, a TIFF directory.
"""

from __future__ import annotations

import functools
import struct

BEGINNING = b"\xff\xd8\xff"

_SCAN, _TABLES = 0xDA, 0xDB
_SCAN_MARKER = b"\xff\xda"
# Baseline and progressive, both with Huffman coding and 8 bits.
_FRAMES = (0xC0, 0xC2)
# Huffman tables, restart interval, comment, and the segments of applications that say nothing about pixels.
_INERT = frozenset({0xC4, 0xDD, 0xFE, *range(0xE3, 0xEE), 0xEF})
_JFIF, _EXIF, _PROFILE, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE

_EXIF_NAME = b"Exif\0\0"
_XMP_NAME = b"http://ns.adobe.com/xap/1.0/\0"
_MORE_XMP_NAME = b"http://ns.adobe.com/xmp/extension/\0"
# The bytes of an ICC profile's segment before the profile: name, number and count.
_PROFILE_NAME, _PROFILE_HEAD = b"ICC_PROFILE\0", 14
# An Adobe segment of its full length, whose last byte says what the three colours are: 1 is YCbCr.
_ADOBE_NAME, _ADOBE_BYTES, _ADOBE_YCBCR = b"Adobe", 12, 1

# Numbers and sampling factors of the components: grey, and YCbCr in its four usual forms. The numbers 1, 2
# and 3 mean YCbCr where nothing else is said.
_COMPONENTS = frozenset(
    {
        (b"\1", b"\x11"),
        *((b"\1\2\3", factors + b"\x11\x11") for factors in (b"\x22", b"\x21", b"\x12", b"\x11")),
    }
)
# A quantisation table of 8 bits, with the byte in front of it.
_TABLE_BYTES = 65
# libjpeg's JPEG_MAX_DIMENSION.
_LONGEST_SIDE = 65_500

_ORIENTATION_TAG, _SHORT = 0x0112, 3
# The EXIF orientations that swap height and width.
_ON_ITS_SIDE = (5, 6, 7, 8)

_length = struct.Struct(">H").unpack_from
_frame = struct.Struct(">BHHB").unpack_from


class _UnusualError(Exception):
    """Something in a header is not on the list."""


def upright_size(content: bytes) -> tuple[int, int] | None:
    """Returns height and width of the upright image; None where Pillow has to decode it.

    Args:
        content: A file that starts with `BEGINNING`.
    """
    # The images of a set often have a few headers between them. This one may end too early, in a thumbnail.
    return _size_of(content[: content.find(_SCAN_MARKER) + 2]) or _size_of.__wrapped__(content)


@functools.lru_cache(maxsize=4096)
def _size_of(header: bytes) -> tuple[int, int] | None:
    """Returns what `upright_size` does, of a file that may end with its first scan's marker."""
    try:
        return _upright_size(header)
    except (_UnusualError, IndexError, struct.error):
        return None


def _upright_size(content: bytes) -> tuple[int, int]:
    """Reads the segments up to the first scan, which is where Pillow stops too."""
    at = 2
    size = orientation = None
    xmp = False
    while (kind := content[at + 1]) != _SCAN:
        begin, end = at + 4, at + 2 + _length(content, at + 2)[0]
        if content[at] != 0xFF or end < begin:
            raise _UnusualError
        if kind == _TABLES:
            _check_tables(content, begin, end)
        elif kind in _FRAMES and size is None:
            size = _frame_size(content, begin, end)
        elif kind == _EXIF and content.startswith(_EXIF_NAME, begin) and orientation is None:
            orientation = _exif_orientation(content, begin + len(_EXIF_NAME), end)
        elif kind == _EXIF and content.startswith(_XMP_NAME, begin):
            xmp = xmp or content.find(b"Orientation", begin, end) >= 0
        elif kind not in _INERT:
            _check_application(content, kind, begin, end)
        at = end
    if content[at] != 0xFF or size is None or (xmp and not orientation):
        raise _UnusualError
    return size[::-1] if orientation in _ON_ITS_SIDE else size


def _check_tables(content: bytes, begin: int, end: int) -> None:
    """Wants quantisation tables of 8 bits."""
    if begin == end or (end - begin) % _TABLE_BYTES:
        raise _UnusualError
    for table in range(begin, end, _TABLE_BYTES):
        # The upper half of this byte is 1 for tables of 16 bits, the lower half the table's number.
        if content[table] > 3:
            raise _UnusualError


def _frame_size(content: bytes, begin: int, end: int) -> tuple[int, int]:
    """Returns height and width as stored, of a frame of 8 bits with the usual components."""
    bits, height, width, count = _frame(content, begin)
    # Each component's third byte names its quantisation table.
    numbers, factors = content[begin + 6 : end : 3], content[begin + 7 : end : 3]
    if bits != 8 or end != begin + 6 + 3 * count or (numbers, factors) not in _COMPONENTS:
        raise _UnusualError
    if not (0 < height <= _LONGEST_SIDE and 0 < width <= _LONGEST_SIDE):
        raise _UnusualError
    return height, width


def _exif_orientation(content: bytes, begin: int, end: int) -> int:
    """Returns the orientation in its usual form, one short number in the first directory; 0 without any."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[begin : begin + 4])
    if order is None:
        raise _UnusualError
    (offset,) = struct.unpack_from(order + "I", content, begin + 4)
    directory = begin + offset
    (count,) = struct.unpack_from(order + "H", content, directory)
    if offset < 8 or directory + 2 + 12 * count > end:
        raise _UnusualError
    tags = struct.unpack_from(order + "H10x" * count, content, directory + 2)
    if _ORIENTATION_TAG not in tags:
        return 0
    entry = directory + 2 + 12 * tags.index(_ORIENTATION_TAG)
    kind, values, orientation = struct.unpack_from(order + "2xHIH", content, entry)
    if tags.count(_ORIENTATION_TAG) > 1 or kind != _SHORT or values != 1 or not 1 <= orientation <= 8:
        raise _UnusualError
    return int(orientation)


def _check_application(content: bytes, kind: int, begin: int, end: int) -> None:
    """Wants of segments that decoders do read that they are in their full form."""
    size = end - begin
    usual = (
        (kind == _JFIF and (size >= 14 or not content.startswith(b"JFIF", begin)))
        or (kind == _EXIF and content.startswith(_MORE_XMP_NAME, begin))
        or (kind == _PROFILE and size >= _PROFILE_HEAD and content.startswith(_PROFILE_NAME, begin))
        or (
            kind == _ADOBE
            and size == _ADOBE_BYTES
            and content.startswith(_ADOBE_NAME, begin)
            and content[end - 1] == _ADOBE_YCBCR
        )
    )
    if not usual:
        raise _UnusualError
