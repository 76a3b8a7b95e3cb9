"""What an image's header says, read before anything is decoded."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from alexnet_fast.data.tar_members import FILE_BYTES_LIMIT
from alexnet_fast.errors import system_reason
from alexnet_fast.pipelines.cpu.pillow import (
    DECODING_ERRORS,
    FORMATS,
    MAX_PIXELS,
    BadImageError,
    reason_of,
)
from alexnet_fast.pipelines.orientation import orientation_of

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif")
# Formats by Pillow's name, and the endings that go with each. An MPO (a telephone's image with a second one
# for depth) is opened as the JPEG that it begins with.
ENDINGS = {
    "JPEG": _JPEG,
    "MPO": _JPEG,
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PNG": (".png", ".apng"),
    "BMP": (".bmp", ".dib"),
    "DIB": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "GIF": (".gif",),
}

_BITS_PER_SAMPLE_TAG = 258


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """Size and kind of an image.

    Args:
        kind: Pillow's name of the format.
        width: In pixels, as stored.
        height: In pixels, as stored.
        mode: Pillow's mode.
        orientation: EXIF orientation, 1 where there is none.
        sixteen_bit: More than 8 bits a channel.
        frames: Number of images in the file.
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
    """Reads an image file whole.

    Raises:
        BadImageError: It cannot be read, is empty, too large or no file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadImageError("not a regular file")
        if status.st_size > FILE_BYTES_LIMIT:
            raise BadImageError(f"{status.st_size >> 20} MiB are more than {FILE_BYTES_LIMIT >> 20} MiB")
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_LIMIT)
    except FileNotFoundError as error:
        gone = "no such file behind the link" if path.is_symlink() else "no such file"
        raise BadImageError(gone) from error
    except OSError as error:
        raise BadImageError(system_reason(error)) from error
    if not content:
        raise BadImageError("empty file")
    return content


def read_header(content: bytes) -> Header:
    """Reads the header of an image, and decodes nothing.

    Raises:
        BadImageError: It is no image of a known format, or has too many pixels to decode.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise BadImageError("not an image") from error
        except Image.DecompressionBombError as error:
            raise BadImageError(f"more than {MAX_PIXELS} pixels") from error
        except DECODING_ERRORS as error:
            raise BadImageError(reason_of(error)) from error
        with image, _named_errors():
            if image.width * image.height > MAX_PIXELS:
                pixels = image.width * image.height
                raise BadImageError(
                    f"{image.width} x {image.height} are {pixels} pixels, more than {MAX_PIXELS}"
                )
            return Header(
                kind=image.format or "",
                width=image.width,
                height=image.height,
                mode=image.mode,
                orientation=orientation_of(image),
                sixteen_bit=_sixteen_bit(image, content),
                frames=int(getattr(image, "n_frames", 1)),
                transparent=image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info,
            )


@contextlib.contextmanager
def _named_errors() -> Iterator[None]:
    """Turns what a damaged file makes Pillow raise into a bad image."""
    try:
        yield
    except DECODING_ERRORS as error:
        raise BadImageError(reason_of(error)) from error


def _sixteen_bit(image: Image.Image, content: bytes) -> bool:
    """Tells whether a channel has more than 8 bits; Pillow's mode says so for grey images alone."""
    if image.mode.startswith(("I", "F")):
        return True
    if image.format == "PNG":
        return content[24] == 16  # the bit depth in IHDR, https://www.w3.org/TR/png-3/#11IHDR
    if image.format == "TIFF":
        bits = image.getexif().get(_BITS_PER_SAMPLE_TAG, 8)
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    return False
