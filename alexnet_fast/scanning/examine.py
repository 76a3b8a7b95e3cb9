"""One file or member of a tar examined: bad, odd or in order."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from alexnet_fast.data.picture_list import ARRAY_ENDING, PICTURE_ENDINGS
from alexnet_fast.data.places import FilePlace
from alexnet_fast.pipelines.colour import WHITE
from alexnet_fast.pipelines.pillow_image import BadPictureError, decode
from alexnet_fast.pipelines.place_bytes import read_bytes as place_content
from alexnet_fast.scanning.header import ENDINGS, Header, read_bytes, read_header
from alexnet_fast.scanning.in_tars import Member, check_array

HUGE_PIXELS = 25_000_000

# How the formats begin that a file of another ending may hold.
_BEGINNINGS = (
    ("JPEG", 0, b"\xff\xd8\xff"),
    ("PNG", 0, b"\x89PNG\r\n\x1a\n"),
    ("GIF", 0, b"GIF8"),
    ("TIFF", 0, b"II*\0"),
    ("TIFF", 0, b"MM\0*"),
    ("WEBP", 8, b"WEBPVP8"),
    ("JPEG2000", 0, b"\0\0\0\x0cjP  "),
)


class Verdict(NamedTuple):
    """What was found out about a file.

    Args:
        picture: Whether training would list it.
        bad: Why it cannot be used; None where it can.
        odd: What is unusual about it.
    """

    picture: bool
    bad: str | None = None
    odd: tuple[str, ...] = ()


def examine(task: str | Member) -> Verdict:
    """Reads and decodes a file, or a member of a tar; what has another ending is looked at, not decoded.

    Args:
        task: A path, or a member.

    Raises:
        Exception: Whatever a decoder raises for a file that is damaged in a way of its own.
    """
    ending = task.ending if isinstance(task, Member) else Path(task).suffix.lower()
    try:
        if ending == ARRAY_ENDING:
            check_array(task.place if isinstance(task, Member) else FilePlace(task))
            return Verdict(picture=True)
        if isinstance(task, Member):
            return _examine_content(place_content(task.place), ending)
        if ending in PICTURE_ENDINGS:
            return _examine_content(read_bytes(Path(task)), ending)
    except BadPictureError as error:
        return Verdict(True, str(error))
    return Verdict(picture=False, odd=_stray(Path(task), ending))


def _examine_content(content: bytes, ending: str) -> Verdict:
    """Decodes a picture.

    Raises:
        BadPictureError: Nothing can be made of it.
    """
    header = read_header(content)
    odd = oddities(header, ending)
    if header.kind == "GIF":
        return Verdict(True, "GIF, which DALI does not read; `prepare` converts it", odd)
    decode(io.BytesIO(content), WHITE)
    return Verdict(True, odd=odd)


def oddities(header: Header, ending: str) -> tuple[str, ...]:
    """Returns what is unusual about a picture, in words.

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
        (header.frames > 1, f"animated: {header.frames} pictures in one file"),
        (pixels > HUGE_PIXELS, f"huge: {header.width} x {header.height} are {pixels / 1e6:.0f} megapixels"),
        (header.transparent, "alpha"),
        (header.mode in ("P", "PA"), "palette"),
    )
    return tuple(what for is_so, what in found if is_so)


def _stray(path: Path, ending: str) -> tuple[str, ...]:
    """Names a picture that training does not list because of its ending."""
    try:
        if not path.is_file():
            return ()
        with path.open("rb") as file:
            start = file.read(32)
    except OSError:
        return ()
    for kind, offset, beginning in _BEGINNINGS:
        if start.startswith(beginning, offset):
            called = ending or "a name without ending"
            return (f"{kind} called {called}: training does not list it",)
    return ()
