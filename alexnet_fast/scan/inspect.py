"""One file or member of a tar examined: bad, odd or in order."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from alexnet_fast.data.image_list import ARRAY_ENDING
from alexnet_fast.data.places import FileLocation
from alexnet_fast.pipelines.color import WHITE
from alexnet_fast.pipelines.cpu.pillow import BadImageError, decode
from alexnet_fast.pipelines.io import read_bytes as place_content
from alexnet_fast.scan.header import ENDINGS, Header, read_bytes, read_header
from alexnet_fast.scan.in_tars import Member, check_array

HUGE_PIXELS = 25_000_000


class ImageReport(NamedTuple):
    """What was found out about a file.

    Args:
        image: Whether training would list it.
        bad: Why it cannot be used; None where it can.
        odd: What is unusual about it.
    """

    image: bool
    bad: str | None = None
    odd: tuple[str, ...] = ()


def examine(task: str | Member) -> ImageReport:
    """Reads and decodes a file, or a member of a tar.

    Args:
        task: A path, or a member.

    Raises:
        Exception: Whatever a decoder raises for a file that is damaged in a way of its own.
    """
    ending = task.ending if isinstance(task, Member) else Path(task).suffix.lower()
    try:
        if ending == ARRAY_ENDING:
            check_array(task.place if isinstance(task, Member) else FileLocation(task))
            return ImageReport(image=True)
        if isinstance(task, Member):
            return _examine_content(place_content(task.place), ending)
        return _examine_content(read_bytes(Path(task)), ending)
    except BadImageError as error:
        return ImageReport(True, str(error))


def _examine_content(content: bytes, ending: str) -> ImageReport:
    """Decodes an image.

    Raises:
        BadImageError: Nothing can be made of it.
    """
    header = read_header(content)
    odd = oddities(header, ending)
    decode(io.BytesIO(content), WHITE)
    return ImageReport(True, odd=odd)


def oddities(header: Header, ending: str) -> tuple[str, ...]:
    """Returns what is unusual about an image, in words.

    Args:
        header: Its header.
        ending: The file's ending, in small letters.
    """
    pixels = header.width * header.height
    found = (
        (ending not in ENDINGS[header.kind], f"{header.kind} called {ending}"),
        (header.mode == "CMYK", "CMYK"),
        (header.orientation in range(2, 9), f"EXIF orientation {header.orientation}"),
        (header.sixteen_bit, "16-bit"),
        (header.frames > 1, f"animated: {header.frames} images in one file"),
        (pixels > HUGE_PIXELS, f"huge: {header.width} x {header.height} are {pixels / 1e6:.0f} megapixels"),
        (header.transparent, "alpha"),
        (header.mode in ("P", "PA"), "palette"),
    )
    return tuple(what for is_so, what in found if is_so)
