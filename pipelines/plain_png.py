"""PNG files that DALI's decoder is trusted with, told by their chunks.

As in `plain_jpeg`, a list of what is allowed: 8 bits of grey or RGB, and no chunk that could say anything of
transparency or orientation. The layout is that of https://www.w3.org/TR/png-3/.
"""

from __future__ import annotations

import struct

BEGINNING = b"\x89PN"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER, _DATA, _END = b"IHDR", b"IDAT", b"IEND"
# The header's data: size, bits, colour type (0 grey, 2 RGB), compression, filter, interlacing.
_header = struct.Struct(">II5B").unpack_from
_PLAIN = ((8, 0, 0, 0, 0), (8, 2, 0, 0, 0))
# Physical size, time, and what concerns colour spaces, which neither decoder heeds.
_INERT = frozenset({b"pHYs", b"tIME", b"gAMA", b"sRGB", b"cHRM", b"sBIT", b"bKGD"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
# Where a text begins with one of these it may hold an orientation.
_METADATA = (b"Raw profile", b"XML:com.adobe.xmp")
_chunk = struct.Struct(">I4s").unpack_from


def upright_size(content: bytes) -> tuple[int, int] | None:
    """Returns height and width; None where Pillow has to decode it.

    Args:
        content: A file that starts with `BEGINNING`.
    """
    try:
        return _upright_size(content)
    except struct.error:
        return None


def _upright_size(content: bytes) -> tuple[int, int] | None:
    """Reads the chunks; orientation may stand behind the pixels too."""
    if not content.startswith(_SIGNATURE) or _chunk(content, 8) != (13, _HEADER):
        return None
    width, height, *form = _header(content, 16)
    if tuple(form) not in _PLAIN or not width or not height:
        return None
    at, seen = 33, False
    while True:
        size, kind = _chunk(content, at)
        if kind == _DATA:
            seen = True
        elif kind == _END:
            return (height, width) if seen else None
        elif kind in _TEXTS:
            if content.startswith(_METADATA, at + 8):
                return None
        elif kind not in _INERT:
            return None
        at += 12 + size
