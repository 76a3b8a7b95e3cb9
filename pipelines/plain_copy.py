"""Formats that DALI's decoder cannot be trusted with: Pillow decodes them, and DALI gets a plain copy.

DALI 2.4 leaves JPEG 2000 to OpenCV's reader on the CPU, and a file that ends too early ends the process there
(Pillow's `Tests/images`; `tests/soak/test_odd_pictures.py`). The format is told by its first bytes, before
DALI sees the file.
"""

from __future__ import annotations

import io

from alexnet_fast.pipelines.pillow_image import decode

# The signature box of ISO/IEC 15444-1 annex I.5.1, and the bare code stream's SOC and SIZ markers, annex A.
_DISTRUSTED = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")

# What stands for a picture that cannot be read: no decoder takes it, so it is found bad like any other.
UNREADABLE = b"\0"


def is_distrusted(beginning: bytes) -> bool:
    """Tells by its first bytes whether a picture may not reach DALI's decoder."""
    return beginning.startswith(_DISTRUSTED)


def plain_copy(content: bytes) -> bytes:
    """Decodes a picture with Pillow to an uncompressed PPM file (https://netpbm.sourceforge.net/doc/ppm.html).

    Raises:
        BadPictureError: It cannot be decoded.
    """
    picture = decode(io.BytesIO(content))
    return b"P6 %d %d 255\n" % picture.size + picture.tobytes()
