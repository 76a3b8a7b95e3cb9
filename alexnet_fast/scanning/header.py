"""What a picture's header says, read before anything is decoded."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from alexnet_fast.data.tar_samples import FILE_BYTES_LIMIT
from alexnet_fast.errors import system_reason
from alexnet_fast.pipelines.orientation import orientation_of
from alexnet_fast.pipelines.pillow_image import (
    DECODING_ERRORS,
    FORMATS,
    MAX_PIXELS,
    BadPictureError,
    reason_of,
)

# Formats by Pillow's name, and the endings that go with each. An MPO (a telephone's picture with a second one
# for depth) is opened as the JPEG that it begins with.
ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe"),
    "MPO": (".jpg", ".jpeg", ".jpe"),
    "JPEG2000": (".jp2", ".j2k"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "DIB": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "GIF": (".gif",),
}

_BITS_PER_SAMPLE_TAG = 258


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """Size and kind of a picture.

    Args:
        kind: Pillow's name of the format.
        width: In pixels, as stored.
        height: In pixels, as stored.
        mode: Pillow's mode.
        orientation: EXIF orientation, 1 where there is none.
        sixteen_bit: More than 8 bits a channel.
        frames: Number of pictures in the file.
        transparent: Has transparent pixels or could have.
    """

    kind: str
    width: int
    height: int
    mode: str
    orientation: int
    sixteen_bit: bool
    frames: int
    transparent: bool


def read_bytes(path: Path) -> bytes:
    """Reads a picture file whole.

    Raises:
        BadPictureError: It cannot be read, is empty, too large or no file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadPictureError("not a regular file")
        if status.st_size > FILE_BYTES_LIMIT:
            raise BadPictureError(f"{status.st_size >> 20} MiB are more than {FILE_BYTES_LIMIT >> 20} MiB")
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_LIMIT)
    except FileNotFoundError as error:
        gone = "no such file behind the link" if path.is_symlink() else "no such file"
        raise BadPictureError(gone) from error
    except OSError as error:
        raise BadPictureError(system_reason(error)) from error
    if not content:
        raise BadPictureError("empty file")
    return content


def read_header(content: bytes) -> Header:
    """Reads the header of a picture, and decodes nothing.

    Raises:
        BadPictureError: It is no picture of a known format, or has too many pixels to decode.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise BadPictureError("not a picture") from error
        except Image.DecompressionBombError as error:
            raise BadPictureError(f"more than {MAX_PIXELS} pixels") from error
        except DECODING_ERRORS as error:
            raise BadPictureError(reason_of(error)) from error
        with picture, _named_errors():
            if picture.width * picture.height > MAX_PIXELS:
                pixels = picture.width * picture.height
                raise BadPictureError(
                    f"{picture.width} x {picture.height} are {pixels} pixels, more than {MAX_PIXELS}"
                )
            return Header(
                kind=picture.format or "",
                width=picture.width,
                height=picture.height,
                mode=picture.mode,
                orientation=orientation_of(picture),
                sixteen_bit=_sixteen_bit(picture, content),
                frames=int(getattr(picture, "n_frames", 1)),
                transparent=picture.mode in ("RGBA", "LA", "PA", "La", "RGBa")
                or "transparency" in picture.info,
            )


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Turns what a damaged file makes Pillow raise into a bad picture."""
    try:
        yield
    except DECODING_ERRORS as error:
        raise BadPictureError(reason_of(error)) from error


def _sixteen_bit(picture: Image.Image, content: bytes) -> bool:
    """Tells whether a channel has more than 8 bits; Pillow's mode says so for grey pictures alone."""
    if picture.mode.startswith(("I", "F")):
        return True
    if picture.format == "PNG":
        return content[24] == 16  # the bit depth in IHDR, https://www.w3.org/TR/png-3/#11IHDR
    if picture.format == "TIFF":
        bits = picture.getexif().get(_BITS_PER_SAMPLE_TAG, 8)
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    return False
