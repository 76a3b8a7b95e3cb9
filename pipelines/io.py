"""The bytes of an image, or of a part of it, from a file or from the middle of a tar."""

from __future__ import annotations

import functools
import io
import os
import stat
from typing import IO, TypeVar

import numpy as np
from PIL import Image

from alexnet_fast.data.image_list import BlockedLocation, Encoding, ImageList, Location, TarLocation
from alexnet_fast.data.tar_members import FILE_BYTES_LIMIT
from alexnet_fast.errors import system_reason
from alexnet_fast.pipelines.color import WHITE, Colour
from alexnet_fast.pipelines.cpu.pillow import BadImageError, decode
from alexnet_fast.utils.arrays import Pixels

_File = TypeVar("_File", bound="_LocationFile")

# What `np.save` writes before the values: a multiple of 64 bytes, 128 for every array of three dimensions.
_HEADER_BYTES = 128


def open_image(place: Location, encoding: Encoding, background: Colour) -> Image.Image:
    """Reads an image whole, RGB and upright.

    Args:
        place: Where it is.
        encoding: As in `ImageList`.
        background: Is seen where the image is transparent.

    Raises:
        BadImageError: It cannot be read or decoded.
    """
    if encoding == "array":
        with ArrayFile(place) as array:
            return Image.fromarray(array.region((0, 0), array.shape()))
    with _LocationFile(place) as file:
        return decode(file.stream(), background)


def image_at(images: ImageList, index: int, background: Colour = WHITE) -> Image.Image:
    """Reads one image of a list; see `open_image`."""
    return open_image(images.location(index), images.encoding, background)


def read_bytes(place: Location) -> bytes:
    """Reads an image as it is stored.

    Raises:
        BadImageError: It cannot be read.
    """
    with _LocationFile(place) as file:
        if file.size > FILE_BYTES_LIMIT:
            raise BadImageError(f"{file.size >> 20} MiB are more than {FILE_BYTES_LIMIT >> 20} MiB")
        return file.read(0, file.size)


class _LocationFile:
    """A place whose file is open; as for `ArrayFile`."""

    def __init__(self, place: Location) -> None:
        self._place = place
        self._start = place.offset if isinstance(place, TarLocation) else 0
        self._file = -1
        self._header: tuple[tuple[int, int], int] | None = None
        self.size = 0

    def __enter__(self: _File) -> _File:
        place = self._place
        if isinstance(place, BlockedLocation):
            raise BadImageError(place.reason)
        try:
            # A pipe would be waited for until somebody writes to it; a file is read without waiting anyway.
            self._file = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._file)
        except FileNotFoundError as error:
            link = os.path.islink(place.path)  # noqa: PTH114 - locations are strings
            raise BadImageError("no such file" + " behind the link" * link) from error
        except OSError as error:
            self.__exit__()
            raise BadImageError(system_reason(error)) from error
        if not stat.S_ISREG(status.st_mode):
            self.__exit__()
            raise BadImageError("not a regular file")
        self.size = place.size if isinstance(place, TarLocation) else status.st_size
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)

    def stream(self) -> IO[bytes]:
        """Returns what reads it; of a file of its own no more than is asked for."""
        if isinstance(self._place, TarLocation):
            return io.BytesIO(self.read(0, self.size))
        return os.fdopen(self._file, "rb", closefd=False)

    def read(self, begin: int, size: int) -> bytes:
        """Returns a stretch, `begin` counted from where the image begins."""
        try:
            content = os.pread(self._file, size, self._start + begin)
        except OSError as error:
            raise BadImageError(system_reason(error)) from error
        if not size or len(content) < size:
            raise BadImageError("the file ends within it" if size else "empty file")
        return content

    def _fill(self, found: Pixels, begin: int) -> None:
        """Reads a stretch into an array."""
        try:
            size = os.preadv(self._file, [found.data], self._start + begin)
        except OSError as error:
            raise BadImageError(system_reason(error)) from error
        if size < found.nbytes:
            raise BadImageError("the file ends within it")


class ArrayFile(_LocationFile):
    """An open array, uint8 (H, W, 3); of a part only the rows are read.

    Args:
        place: Where it is.

    Raises:
        BadImageError: On entry or later: it cannot be read, or is no such array.
    """

    def shape(self) -> tuple[int, int]:
        """Returns height and width."""
        (height, width), begin = self._parsed()
        if self.size != begin + height * width * 3:
            raise BadImageError(f"{self.size} bytes are not the {begin + height * width * 3} of its array")
        return height, width

    def region(self, start: tuple[int, int], end: tuple[int, int], rows: Pixels | None = None) -> Pixels:
        """Returns the part from one corner up to another, uint8 (rows, columns, 3), RGB; not contiguous.

        Args:
            start: Row and column.
            end: Row and column behind the last.
            rows: uint8 (rows, width, 3), is filled; None for new memory.
        """
        (_, width), begin = self._parsed()
        if rows is None:
            rows = np.empty((end[0] - start[0], width, 3), np.uint8)
        self._fill(rows, begin + start[0] * width * 3)
        return rows[:, start[1] : end[1]]

    def _parsed(self) -> tuple[tuple[int, int], int]:
        """Returns height and width, and where the values begin."""
        if self._header is None:
            self._header = _parsed(self.read(0, min(_HEADER_BYTES, self.size)))
        return self._header


@functools.lru_cache(maxsize=4096)
def _parsed(header: bytes) -> tuple[tuple[int, int], int]:
    """Reads a header of `np.save`; parsed once for each size that images have.

    Raises:
        BadImageError: It is something else, or not of uint8 (H, W, 3).
    """
    file = io.BytesIO(header)
    try:
        version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call, unused-ignore]
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, by_columns, dtype = read(file)  # type: ignore[no-untyped-call, unused-ignore]
    except ValueError as error:
        raise BadImageError("not an array file") from error
    if by_columns or dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise BadImageError(f"an array of {dtype} {shape}, not of uint8 (height, width, 3)")
    return (int(shape[0]), int(shape[1])), file.tell()
