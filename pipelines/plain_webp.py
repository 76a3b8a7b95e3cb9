"""WebP files that DALI's decoder is trusted with: one opaque image without anything around it.

Transparency, metadata and animation need the extended form (https://developers.google.com/speed/webp/docs/
riff_container), which is left to Pillow; in the simple form only the lossless bitstream can have alpha.
"""

from __future__ import annotations

import struct

BEGINNING = b"RIF"

_LOSSY, _LOSSLESS = b"VP8 ", b"VP8L"
# RFC 6386 section 9.1: the start code of a key frame; the lowest bit of the three bytes before is 0.
_KEY_FRAME = b"\x9d\x01\x2a"
# WebP lossless, section 3: its signature, 14 bits each of width and height less 1, whether alpha is used,
# and the version.
_SIGNATURE, _SIDE, _ALPHA_AND_VERSION = 0x2F, 0x3FFF, 0xF << 28


def upright_size(content: bytes) -> tuple[int, int] | None:
    """Returns height and width; None where Pillow has to decode it.

    Args:
        content: A file that starts with `BEGINNING`.
    """
    if len(content) < 30 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    whole, kind, size = struct.unpack_from("<I4x4sI", content, 4)
    # One chunk, padded to an even length, is all that there is.
    if whole != 12 + size + size % 2 or len(content) != 8 + whole:
        return None
    if kind == _LOSSY and content[23:26] == _KEY_FRAME and not content[20] & 1:
        width, height = (side & _SIDE for side in struct.unpack_from("<HH", content, 26))
        return (height, width) if width and height else None
    if kind == _LOSSLESS and content[20] == _SIGNATURE:
        (bits,) = struct.unpack_from("<I", content, 21)
        return None if bits & _ALPHA_AND_VERSION else (1 + (bits >> 14 & _SIDE), 1 + (bits & _SIDE))
    return None
