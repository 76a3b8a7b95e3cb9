"""The one place that decides which files DALI's decoder gets as they are, and what it gets for the others.

DALI 2.4 ends the process when a batch of 32 or more holds a file whose header it cannot parse, or a cut-off
JPEG 2000; and what its decoders make of rare files differs from format to format. So a file reaches it only
where its header is known to be read alike by DALI and Pillow; Pillow decodes every other one, and DALI gets
the pixels in an uncompressed PPM file (https://netpbm.sourceforge.net/doc/ppm.html).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

from alexnet_fast.pipelines import plain_jpeg, plain_png, plain_webp
from alexnet_fast.pipelines.color import Color
from alexnet_fast.pipelines.cpu.pillow import MAX_PIXELS, decode

Size = tuple[int, int]

# What tells a file's format, and what returns the upright size of those that DALI may have.
_TRUSTED: dict[bytes, Callable[[bytes], Size | None]] = {
    form.BEGINNING: form.upright_size for form in (plain_jpeg, plain_png, plain_webp)
}


class Encoded(NamedTuple):
    """A file that DALI decodes to the pixels that Pillow gives.

    Args:
        content: Its bytes.
        size: Height and width of the upright image.
    """

    content: bytes
    size: Size


# Stands in a batch for an image that is lost, so that the others are decoded together.
PLACEHOLDER = Encoded(b"P6 1 1 255\n\0\0\0", (1, 1))


def for_dali(content: bytes, background: Color) -> Encoded:
    """Returns an image as DALI may have it.

    Args:
        content: A file.
        background: Is seen where the image is transparent.

    Raises:
        BadImageError: It cannot be decoded.
    """
    size = trusted_size(content)
    return transcode(content, background) if size is None else Encoded(content, size)


def trusted_size(content: bytes) -> Size | None:
    """Returns height and width of the upright image where DALI may have the file, else None."""
    read = _TRUSTED.get(content[:3])
    size = None if read is None else read(content)
    return None if size is None or size[0] * size[1] > MAX_PIXELS else size


def transcode(content: bytes, background: Color) -> Encoded:
    """Decodes an image with Pillow and stores it uncompressed.

    Raises:
        BadImageError: It cannot be decoded.
    """
    image = decode(io.BytesIO(content), background)
    return Encoded(ppm_bytes(image), (image.height, image.width))


def ppm_bytes(image: Image.Image) -> bytes:
    """Returns an RGB image as a PPM file."""
    return b"P6 %d %d 255\n" % image.size + image.tobytes()
