"""Decides which files DALI's decoder gets as they are, and what it gets for the others.

DALI 2.4 ends the process when a batch of 32 or more holds a file whose header it cannot parse, or a cut-off
JPEG 2000; and its decoders treat rare files differently from format to format. So a file reaches DALI only if
DALI and Pillow are known to read its header alike; Pillow decodes every other file, and DALI gets the pixels
in an uncompressed PPM file (https://netpbm.sourceforge.net/doc/ppm.html).

The trusted headers are a list of what is allowed, not of what is forbidden: a header that passes is one that
neither decoder stumbles over, and that means the same to both.
"""

from __future__ import annotations

import functools
import io
import struct
from typing import NamedTuple

from PIL import Image

from alexnet_fast.pipelines.color import Color
from alexnet_fast.pipelines.cpu.pillow import MAX_PIXELS, decode

Size = tuple[int, int]


class Encoded(NamedTuple):
    """A file that DALI decodes to the pixels that Pillow gives.

    Args:
        content: Its bytes.
        size: Height and width of the upright image.
    """

    content: bytes
    size: Size


# Takes the place of a bad image in a batch, so that the others are decoded together.
PLACEHOLDER = Encoded(b"P6 1 1 255\n\0\0\0", (1, 1))


def for_dali(content: bytes, background: Color) -> Encoded:
    """Returns a file that DALI may decode.

    Args:
        content: The original file.
        background: Colour behind transparent parts.

    Raises:
        BadImageError: The file cannot be decoded.
    """
    size = trusted_size(content)
    return transcode(content, background) if size is None else Encoded(content, size)


def trusted_size(content: bytes) -> Size | None:
    """Returns height and width of the upright image if DALI may decode the file, else None."""
    read = _TRUSTED.get(content[:3])
    size = None if read is None else read(content)
    return None if size is None or size[0] * size[1] > MAX_PIXELS else size


def transcode(content: bytes, background: Color) -> Encoded:
    """Decodes an image with Pillow and stores it uncompressed.

    Raises:
        BadImageError: The image cannot be decoded.
    """
    image = decode(io.BytesIO(content), background)
    return Encoded(ppm_bytes(image), (image.height, image.width))


def ppm_bytes(image: Image.Image) -> bytes:
    """Returns an RGB image as a PPM file."""
    return b"P6 %d %d 255\n" % image.size + image.tobytes()


# JPEG: the layout is that of ITU-T T.81 annex B; EXIF's is that of CIPA DC-008, a TIFF directory.
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

_unpack_length = struct.Struct(">H").unpack_from
_unpack_frame = struct.Struct(">BHHB").unpack_from


class _UnusualError(Exception):
    """A header holds something that is not on the list."""


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Returns height and width of the upright image; None if Pillow has to decode it."""
    # The images of a set often have a few headers between them. This one may end too early, in a thumbnail.
    header = content[: content.find(_SCAN_MARKER) + 2]
    return _cached_jpeg_size(header) or _cached_jpeg_size.__wrapped__(content)


@functools.lru_cache(maxsize=4096)
def _cached_jpeg_size(header: bytes) -> tuple[int, int] | None:
    """Returns what `_jpeg_size` does, for a file that may end with the marker of its first scan."""
    try:
        return _read_jpeg_size(header)
    except (_UnusualError, IndexError, struct.error):
        return None


def _read_jpeg_size(content: bytes) -> tuple[int, int]:
    """Reads the segments up to the first scan, where Pillow stops too."""
    at = 2
    size = orientation = None
    xmp = False
    while (kind := content[at + 1]) != _SCAN:
        begin, end = at + 4, at + 2 + _unpack_length(content, at + 2)[0]
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
    """Checks that the quantisation tables have 8 bits."""
    if begin == end or (end - begin) % _TABLE_BYTES:
        raise _UnusualError
    for table in range(begin, end, _TABLE_BYTES):
        # The upper half of this byte is 1 for tables of 16 bits, the lower half the table's number.
        if content[table] > 3:
            raise _UnusualError


def _frame_size(content: bytes, begin: int, end: int) -> tuple[int, int]:
    """Returns height and width as stored, of a frame of 8 bits with the usual components."""
    bits, height, width, count = _unpack_frame(content, begin)
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
    """Checks that the segments that decoders read are in their full form."""
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


# PNG: 8 bits of grey or RGB, and no chunk that could hold transparency or orientation. The layout is that of
# https://www.w3.org/TR/png-3/.
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER, _PNG_DATA, _PNG_END = b"IHDR", b"IDAT", b"IEND"
# The header's data: size, bits, colour type (0 grey, 2 RGB), compression, filter, interlacing.
_unpack_png_header = struct.Struct(">II5B").unpack_from
_PNG_FORMS = ((8, 0, 0, 0, 0), (8, 2, 0, 0, 0))
# Physical size, time, and colour space chunks, which neither decoder uses.
_PNG_INERT = frozenset({b"pHYs", b"tIME", b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"bKGD"})
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# A text that begins with one of these may hold an orientation.
_PNG_METADATA = (b"Raw profile", b"XML:com.adobe.xmp")
_unpack_png_chunk = struct.Struct(">I4s").unpack_from


def _png_size(content: bytes) -> tuple[int, int] | None:
    """Returns height and width; None if Pillow has to decode the file."""
    try:
        return _read_png_size(content)
    except struct.error:
        return None


def _read_png_size(content: bytes) -> tuple[int, int] | None:
    """Reads the chunks; orientation may stand behind the pixels too."""
    if not content.startswith(_PNG_SIGNATURE) or _unpack_png_chunk(content, 8) != (13, _PNG_HEADER):
        return None
    width, height, *form = _unpack_png_header(content, 16)
    if tuple(form) not in _PNG_FORMS or not width or not height:
        return None
    at, seen = 33, False
    while True:
        size, kind = _unpack_png_chunk(content, at)
        if kind == _PNG_DATA:
            seen = True
        elif kind == _PNG_END:
            return (height, width) if seen else None
        elif kind in _PNG_TEXTS:
            if content.startswith(_PNG_METADATA, at + 8):
                return None
        elif kind not in _PNG_INERT:
            return None
        at += 12 + size


# WebP: one opaque image without anything around it. Transparency, metadata and animation need the extended
# form (https://developers.google.com/speed/webp/docs/riff_container), which is left to Pillow; in the simple
# form only the lossless bitstream can have alpha.
_WEBP_LOSSY, _WEBP_LOSSLESS = b"VP8 ", b"VP8L"
# RFC 6386 section 9.1: the start code of a key frame; the lowest bit of the three bytes before is 0.
_VP8_KEY_FRAME = b"\x9d\x01\x2a"
# WebP lossless, section 3: its signature, 14 bits each of width and height less 1, whether alpha is used,
# and the version.
_VP8L_SIGNATURE, _VP8L_SIDE, _VP8L_ALPHA_AND_VERSION = 0x2F, 0x3FFF, 0xF << 28


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """Returns height and width; None if Pillow has to decode the file."""
    if len(content) < 30 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    whole, kind, size = struct.unpack_from("<I4x4sI", content, 4)
    # One chunk, padded to an even length, is all that there is.
    if whole != 12 + size + size % 2 or len(content) != 8 + whole:
        return None
    if kind == _WEBP_LOSSY and content[23:26] == _VP8_KEY_FRAME and not content[20] & 1:
        width, height = (side & _VP8L_SIDE for side in struct.unpack_from("<HH", content, 26))
        return (height, width) if width and height else None
    if kind == _WEBP_LOSSLESS and content[20] == _VP8L_SIGNATURE:
        (bits,) = struct.unpack_from("<I", content, 21)
        height, width = 1 + (bits >> 14 & _VP8L_SIDE), 1 + (bits & _VP8L_SIDE)
        return None if bits & _VP8L_ALPHA_AND_VERSION else (height, width)
    return None


# Readers of trusted headers, by how files of the format begin.
_TRUSTED = {b"\xff\xd8\xff": _jpeg_size, b"\x89PN": _png_size, b"RIF": _webp_size}
