"""One file examined: bad, odd or in order."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

from alexnet_fast.data.picture_list import PICTURE_ENDINGS
from alexnet_fast.pipelines.pillow_image import BadPictureError, decode
from alexnet_fast.scanning.header import ENDINGS, Header, read_bytes, read_header

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


def examine(path: str) -> Verdict:
    """Reads and decodes a file; a file whose ending is no picture's is looked at, not decoded.

    Raises:
        Exception: Whatever a decoder raises for a file that is damaged in a way of its own.
    """
    ending = Path(path).suffix.lower()
    if ending not in PICTURE_ENDINGS:
        return Verdict(picture=False, odd=_stray(Path(path), ending))
    try:
        content = read_bytes(Path(path))
        header = read_header(content)
        odd = oddities(header, ending)
        if header.kind == "GIF":
            return Verdict(True, "GIF, which DALI does not read; `prepare` converts it", odd)
        decode(io.BytesIO(content))
    except BadPictureError as error:
        return Verdict(True, str(error))
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
