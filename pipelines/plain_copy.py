"""Formats that DALI's decoder cannot be trusted with: Pillow decodes them, and DALI gets a plain copy.

DALI 2.4 leaves JPEG 2000 to OpenCV's reader on the CPU, and a file that ends too early ends the process there
(Pillow's `Tests/images`; `tests/soak/test_odd_pictures.py`). The format is told by its first bytes, before
DALI sees the file.
"""

from __future__ import annotations

import io
import itertools
import os
from typing import IO

import numpy as np

from alexnet_fast.data import PictureList
from alexnet_fast.pipelines.pillow_image import BadPictureError, decode

# The signature box of ISO/IEC 15444-1 annex I.5.1, and the bare code stream's SOC and SIZ markers, annex A.
_DISTRUSTED = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
_BEGINNING = 12

# What stands for a picture that cannot be read: no decoder takes it, so it is found bad like any other.
UNREADABLE = b"\0"
_NO_PICTURE = os.devnull

# Copies made so far, and the most slashes in a name: a path may have 4,095 letters (limits.h, PATH_MAX).
_COPIES = itertools.count()
_MOST_SLASHES = 4000


def is_distrusted(beginning: bytes) -> bool:
    """Tells by its first bytes whether a picture may not reach DALI's decoder."""
    return beginning.startswith(_DISTRUSTED)


def plain_copy(source: str | bytes) -> bytes:
    """Decodes a picture with Pillow to an uncompressed PPM file (https://netpbm.sourceforge.net/doc/ppm.html).

    Args:
        source: Path or content.

    Raises:
        BadPictureError: It cannot be decoded.
    """
    picture = decode(io.BytesIO(source) if isinstance(source, bytes) else source)
    return b"P6 %d %d 255\n" % picture.size + picture.tobytes()


class NamesForDali:
    """Gives DALI the names of files, or of plain copies in memory.

    A file's first bytes are read when it is first met.

    Args:
        pictures: Files of their own.
    """

    def __init__(self, pictures: PictureList) -> None:
        self._pictures = pictures
        self._met = np.zeros(len(pictures), np.bool_)
        self._distrusted: set[int] = set()

    def of(self, index: int) -> tuple[str, IO[bytes] | None]:
        """Returns a name, and what has to stay open as long as it is in use."""
        path = self._pictures.path(index)
        if not self._met[index]:
            self._met[index] = True
            if is_distrusted(_beginning(path)):
                self._distrusted.add(index)
        return _copied(path) if index in self._distrusted else (path, None)


def _copied(path: str) -> tuple[str, IO[bytes] | None]:
    """Returns the name of a plain copy in memory; of nothing where the picture is bad."""
    try:
        content = plain_copy(path)
    except BadPictureError:
        return _NO_PICTURE, None
    file = os.fdopen(os.memfd_create("plain-copy"), "w+b")
    file.write(content)
    file.flush()
    # Each copy has a name of its own: DALI keeps files mapped by their names, also of one that is closed, and
    # the number of a closed file is given to the next one. More slashes than one are one.
    slashes = "/" * (1 + next(_COPIES) % _MOST_SLASHES)
    return f"/proc/self/fd{slashes}{file.fileno()}", file


def _beginning(path: str) -> bytes:
    """Returns a file's first bytes; none where it cannot be read, which DALI will say."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - called for every file
            return file.read(_BEGINNING) or b""
    except OSError:
        return b""
