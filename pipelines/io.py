"""Read an image, or a part of it, from a file or from the middle of a tar."""

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
from alexnet_fast.pipelines.color import WHITE, Color
from alexnet_fast.pipelines.cpu.pillow import BadImageError, centre_square, decode, naming
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Pixels

_File = TypeVar("_File", bound="_LocationFile")

# Size of the header of `np.save`: a multiple of 64 bytes, 128 for every array of three dimensions.
_HEADER_BYTES = 128


def open_image(location: Location, encoding: Encoding, background: Color) -> Image.Image:
    """Reads a whole image, RGB and upright.

    Args:
        location: Location of the image.
        encoding: As in `ImageList`.
        background: Colour behind transparent parts.

    Raises:
        BadImageError: The image cannot be read or decoded.
    """
    if encoding == "array":
        with ArrayFile(location) as array:
            return Image.fromarray(array.region((0, 0), array.shape()))
    with _LocationFile(location) as file:
        if file.size > FILE_BYTES_LIMIT:
            raise BadImageError(f"{file.size >> 20} MiB are more than {FILE_BYTES_LIMIT >> 20} MiB")
        return decode(file.stream(), background)


def image_at(images: ImageList, index: int, background: Color = WHITE) -> Image.Image:
    """Reads one image of a list; see `open_image`."""
    return open_image(images.location(index), images.encoding, background)


def square_at(images: ImageList, index: int, spec: AugmentSpec) -> Pixels:
    """Returns the centre square of one image of a list, uint8 (resize, resize, 3), RGB.

    Raises:
        UserError: The image cannot be decoded.
    """
    with naming(images.path(index)):
        return centre_square(image_at(images, index, spec.background), spec)


def sample_squares(images: ImageList, spec: AugmentSpec, count: int) -> Pixels:
    """Returns the centre squares of `count` images spread evenly over a list; of all if the list has fewer.

    Raises:
        UserError: An image cannot be decoded.
    """
    return np.stack([square_at(images, index, spec) for index in spread(len(images), count)])


def spread(length: int, count: int) -> list[int]:
    """Returns up to `count` positions spread evenly over a list, the first and the last among them."""
    positions: list[int] = np.linspace(0, length - 1, min(count, length)).round().astype(int).tolist()
    return positions


def read_bytes(location: Location) -> bytes:
    """Reads the stored bytes of an image.

    Raises:
        BadImageError: The image cannot be read.
    """
    with _LocationFile(location) as file:
        if file.size > FILE_BYTES_LIMIT:
            raise BadImageError(f"{file.size >> 20} MiB are more than {FILE_BYTES_LIMIT >> 20} MiB")
        return file.read(0, file.size)


class _LocationFile:
    """The open file of a location; arguments as for `ArrayFile`."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._start = location.offset if isinstance(location, TarLocation) else 0
        self._file = -1
        self._header: tuple[tuple[int, int], int] | None = None
        self.size = 0

    def __enter__(self: _File) -> _File:
        location = self._location
        if isinstance(location, BlockedLocation):
            raise BadImageError(location.reason)
        try:
            # Without O_NONBLOCK, opening a pipe would wait for a writer; it changes nothing for a file.
            self._file = os.open(location.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._file)
        except FileNotFoundError as error:
            link = os.path.islink(location.path)  # noqa: PTH114 - locations are strings
            raise BadImageError("no such file" + " behind the link" * link) from error
        except OSError as error:
            self.__exit__()
            raise BadImageError(system_reason(error)) from error
        if not stat.S_ISREG(status.st_mode):
            self.__exit__()
            raise BadImageError("not a regular file")
        self.size = location.size if isinstance(location, TarLocation) else status.st_size
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)

    def stream(self) -> IO[bytes]:
        """Returns a stream over the image; a file that is no tar is read as far as needed."""
        if isinstance(self._location, TarLocation):
            return io.BytesIO(self.read(0, self.size))
        return os.fdopen(self._file, "rb", closefd=False)

    def read(self, begin: int, size: int) -> bytes:
        """Returns `size` bytes from `begin`, counted from the beginning of the image."""
        try:
            content = os.pread(self._file, size, self._start + begin)
        except OSError as error:
            raise BadImageError(system_reason(error)) from error
        if not size or len(content) < size:
            raise BadImageError("the file ends within it" if size else "empty file")
        return content

    def _read_into(self, output: Pixels, begin: int) -> None:
        """Fills an array with the bytes from `begin` on."""
        try:
            size = os.preadv(self._file, [output.data], self._start + begin)
        except OSError as error:
            raise BadImageError(system_reason(error)) from error
        if size < output.nbytes:
            raise BadImageError("the file ends within it")


class ArrayFile(_LocationFile):
    """An open array file, uint8 (H, W, 3); for a region only its rows are read.

    Args:
        location: Location of the array.

    Raises:
        BadImageError: On entry or later: the file cannot be read, or holds no such array.
    """

    def shape(self) -> tuple[int, int]:
        """Returns height and width."""
        (height, width), begin = self._parsed()
        if self.size != begin + height * width * 3:
            raise BadImageError(f"{self.size} bytes are not the {begin + height * width * 3} of its array")
        return height, width

    def region(self, start: tuple[int, int], end: tuple[int, int], rows: Pixels | None = None) -> Pixels:
        """Returns the region from one corner to another, uint8 (rows, columns, 3), RGB; not contiguous.

        Args:
            start: First row and column.
            end: One past the last row and column.
            rows: uint8 (rows, width, 3) to fill; None for new memory.
        """
        (_, width), begin = self._parsed()
        if rows is None:
            rows = np.empty((end[0] - start[0], width, 3), np.uint8)
        self._read_into(rows, begin + start[0] * width * 3)
        return rows[:, start[1] : end[1]]

    def _parsed(self) -> tuple[tuple[int, int], int]:
        """Returns height and width, and the offset of the values."""
        if self._header is None:
            self._header = _parsed(self.read(0, min(_HEADER_BYTES, self.size)))
        return self._header


@functools.lru_cache(maxsize=4096)
def _parsed(header: bytes) -> tuple[tuple[int, int], int]:
    """Parses a header of `np.save`, once per size of the images.

    Raises:
        BadImageError: The bytes are no such header, or the array is not uint8 (H, W, 3).
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
