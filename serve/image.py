"""Decodes one image from any source to the square of pixels that a model takes.

The pixels are those of training: `pipelines.cpu.pillow` decodes and resizes. This module adds limits, which
are checked on the header before anything is decoded.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from alexnet_fast.errors import system_reason
from alexnet_fast.pipelines.cpu.pillow import (
    DECODING_ERRORS,
    FORMATS,
    MAX_PIXELS,
    BadImageError,
    reason_of,
    to_square,
)
from alexnet_fast.pipelines.geometry import resized
from alexnet_fast.serve.errors import RequestError, malformed
from alexnet_fast.utils.arrays import Pixels
from alexnet_fast.utils.special_files import read_given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.pipelines.spec import AugmentSpec

ImageSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray[Any, Any]

# Start-of-scan marker (ITU-T T.81, table B.1). Within a scan every 0xFF is followed by 0, so this pair is
# there once per scan, and in thumbnails.
_JPEG_SCAN = b"\xff\xda"
# A phone's image with a second one behind it; it begins with a whole JPEG, which is the one that is decoded.
_JPEG_WITH_MORE = "MPO"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageLimits:
    """Which images are decoded.

    Args:
        formats: Pillow's names of the formats.
        max_bytes: Size of the file.
        max_pixels: Width times height, as stored and after the shorter side is resized.
        max_scans: Scans of a progressive JPEG; encoders write about ten, and each costs a pass over the
            whole image however short it is.
        animated: Whether the first frame of an animation is taken.
    """

    formats: tuple[str, ...] = FORMATS
    max_bytes: int = 512 << 20
    max_pixels: int = MAX_PIXELS
    max_scans: int = 1000
    animated: bool = True


# For your own files: what training takes.
TRUSTED = ImageLimits()
# For images from the network: those of the largest cameras pass, decompression bombs do not.
SERVED = ImageLimits(
    formats=("JPEG", "PNG", "WEBP"), max_bytes=10 << 20, max_pixels=25_000_000, max_scans=100, animated=False
)


def square_of(image: ImageSource, spec: AugmentSpec, limits: ImageLimits = TRUSTED) -> Pixels:
    """Decodes and resizes one image.

    Args:
        image: A path, an encoded image, a Pillow image, or uint8 (height, width, 3) RGB or
            (height, width) grey.
        spec: Sizes.
        limits: Images beyond them are refused.

    Returns:
        uint8 (resize, resize, 3), RGB: the centre square after the shorter side is resized.

    Raises:
        BadImageError: The image cannot be decoded or exceeds a limit; the message is the reason alone.
    """
    if isinstance(image, str | os.PathLike):
        image = _read(Path(image), limits)
    if isinstance(image, bytes):
        check_encoded(image, spec, limits)
    else:
        width, height = _size_of_pixels(image)
        _check_size(width, height, spec, limits)
    return to_square(image, spec)


def squares_of(
    images: Sequence[ImageSource], spec: AugmentSpec, limits: ImageLimits = TRUSTED
) -> tuple[list[Pixels], dict[int, str]]:
    """Decodes several images; a bad one does not stop the others.

    Returns:
        The squares of the good images in order, and the reason for each bad one by its position.
    """
    squares: list[Pixels] = []
    reasons: dict[int, str] = {}
    for place, image in enumerate(images):
        try:
            squares.append(square_of(image, spec, limits))
        except BadImageError as error:  # noqa: PERF203 - one bad image must not stop the others
            reasons[place] = str(error)
    return squares, reasons


def _read(path: Path, limits: ImageLimits) -> bytes:
    """Reads a file, but never more than may be decoded."""
    try:
        return read_given(path, limits.max_bytes + 1)
    except OSError as error:
        raise BadImageError(system_reason(error)) from error


def check_encoded(content: bytes, spec: AugmentSpec, limits: ImageLimits) -> None:
    """Checks the header of an encoded image against the limits; decodes nothing."""
    if not content:
        raise BadImageError("no bytes")
    if len(content) > limits.max_bytes:
        raise BadImageError(f"{len(content)} bytes, at most {limits.max_bytes} are allowed")
    if content[:4] == b"RIFF":
        _check_webp(content, spec, limits)
    try:
        image = Image.open(io.BytesIO(content), formats=limits.formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImageError(f"more than {limits.max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        raise BadImageError(f"not an image in {_listed(limits.formats)}") from error
    except DECODING_ERRORS as error:
        raise BadImageError(reason_of(error)) from error
    with image:
        _check_size(image.width, image.height, spec, limits)
        if image.format in ("JPEG", _JPEG_WITH_MORE):
            _check_scans(content, limits)
        elif not limits.animated:
            _check_still(getattr(image, "n_frames", 1))


def _check_webp(content: bytes, spec: AugmentSpec, limits: ImageLimits) -> None:
    """Reads the size of a WebP by hand, because Pillow allocates its canvas when it opens one.

    The layout is that of https://developers.google.com/speed/webp/docs/riff_container and, for the two kinds
    of bitstream, RFC 6386 section 9.1 and the specification of WebP lossless, section 3.
    """
    kind, start = content[12:16], content[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(start[at : at + 3], "little") for at in (4, 7))
        if not limits.animated and start[0] & 0x02:
            raise BadImageError("an animation")
    elif kind == b"VP8L":
        bits = int.from_bytes(start[1:5], "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (int.from_bytes(start[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    _check_size(width, height, spec, limits)


def _check_size(width: int, height: int, spec: AugmentSpec, limits: ImageLimits) -> None:
    """Checks the size of an image, also after its shorter side is resized, which may enlarge it."""
    if min(width, height) < 1:
        raise BadImageError("no pixels")
    if width * height > limits.max_pixels:
        raise BadImageError(
            f"{width} x {height} are {width * height} pixels, at most {limits.max_pixels} are allowed"
        )
    wide, high = resized(width, height, spec.resize)
    if wide * high > limits.max_pixels:
        raise BadImageError(
            f"{width} x {height} would be {wide} x {high} with a shorter side of {spec.resize},"
            f" more than {limits.max_pixels} pixels"
        )


def _check_scans(content: bytes, limits: ImageLimits) -> None:
    scans = content.count(_JPEG_SCAN)
    if scans > limits.max_scans:
        raise BadImageError(f"a JPEG of {scans} scans, at most {limits.max_scans} are allowed")


def _check_still(frames: int) -> None:
    if frames > 1:
        raise BadImageError(f"an animation of {frames} frames")


def _size_of_pixels(image: object) -> tuple[int, int]:
    """Returns width and height of a Pillow image or an array."""
    if isinstance(image, Image.Image):
        return image.size
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise BadImageError(f"an image is a path, bytes, a Pillow image or an array, not {kind}")
    if image.dtype != np.uint8:
        raise BadImageError(f"pixels must be uint8, not {image.dtype}")
    if image.ndim != 2 and (image.ndim != 3 or image.shape[2] != 3):
        raise BadImageError(f"an array must be (height, width, 3) or (height, width), not {image.shape}")
    if image.size == 0:
        raise BadImageError("no pixels")
    return image.shape[1], image.shape[0]


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


class DecoderPool:
    """Decodes the images of requests in threads, one per core.

    Args:
        limits: Images beyond them are refused.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._threads = concurrent.futures.ThreadPoolExecutor(
            len(os.sched_getaffinity(0)), thread_name_prefix="decoder"
        )

    async def decode(
        self, images: Sequence[bytes], names: Sequence[str | None] | None, spec: AugmentSpec, deadline: float
    ) -> Pixels:
        """Decodes images, several at once.

        Args:
            images: Encoded images.
            names: Their names, for messages.
            spec: Sizes.
            deadline: `time.monotonic()` after which nobody needs them.

        Returns:
            uint8 (N, resize, resize, 3).

        Raises:
            RequestError: An image is bad (400), or the deadline passed (504).
        """
        loop = asyncio.get_running_loop()
        tasks = [
            loop.run_in_executor(self._threads, square_of, image, spec, self._limits) for image in images
        ]
        try:
            done, pending = await asyncio.wait(tasks, timeout=deadline - time.monotonic())
        finally:
            # Nobody needs tasks that have not begun: the deadline passed, or the client disconnected.
            for task in tasks:
                task.cancel()
        # Every error is retrieved; otherwise asyncio complains of it in the log.
        errors = [task.exception() if task in done else None for task in tasks]
        for place, error in enumerate(errors):
            if isinstance(error, BadImageError):
                name = (names and names[place]) or f"image {place}"
                raise malformed(f"{name} cannot be classified: {error}")
        if pending:
            raise RequestError(504, "the deadline passed")
        return np.stack([task.result() for task in tasks])

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
