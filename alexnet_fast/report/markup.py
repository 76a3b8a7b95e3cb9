"""Pieces of HTML; every string that comes in is text and is escaped here."""

from __future__ import annotations

import base64
import html
import re
import struct

# What HTML does not allow in a document: control characters but for tab and line ends, and lone surrogates,
# which file names that are not UTF-8 bring along and which cannot be written.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CSS_PIXELS_PER_METRE = 96 / 0.0254


def escaped(text: str) -> str:
    """Returns a text as HTML, fit for an element or a quoted attribute."""
    # The bytes of a file's name that are no UTF-8 are shown as their escapes.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return html.escape(_UNPRINTABLE.sub("�", text), quote=True)


def element(tag: str, *inner: str, **attributes: str) -> str:
    """Returns an element.

    Args:
        tag: Its name.
        inner: HTML inside, joined.
        attributes: By name; their values are text. `class_` is written "class", `aria_label` "aria-label".
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"' for name, value in attributes.items()
    )
    return f"<{tag}{given}>{''.join(inner)}</{tag}>"


def paragraphs(text: str, **attributes: str) -> str:
    """Returns the paragraphs of a text, which blank lines divide."""
    parts = re.split(r"\n\s*\n", text.strip())
    return "\n".join(element("p", escaped(" ".join(part.split())), **attributes) for part in parts if part)


def image(png: bytes, alt: str) -> str:
    """Returns a PNG as an element that holds the file itself.

    It is shown as large as its resolution says, less where the page is narrower.

    Raises:
        ValueError: It is not PNG.
    """
    width, height, scale = _png_size(png)
    data = base64.b64encode(png).decode("ascii")
    size = f'width="{round(width * scale)}" height="{round(height * scale)}"'
    return f'<img src="data:image/png;base64,{data}" {size} alt="{escaped(alt)}">'


def _png_size(png: bytes) -> tuple[int, int, float]:
    """Returns width and height in dots, and CSS pixels a dot (PNG specification, chunks IHDR and pHYs)."""
    if not png.startswith(_PNG_SIGNATURE) or len(png) < 33:
        raise ValueError("the image is not a PNG file")
    width, height = struct.unpack(">II", png[16:24])
    place = len(_PNG_SIGNATURE)
    while place + 8 <= len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        if kind == b"pHYs":
            per_metre, _, metric = struct.unpack(">IIB", png[place + 8 : place + 17])
            return width, height, _CSS_PIXELS_PER_METRE / per_metre if metric and per_metre else 1.0
        if kind == b"IDAT":
            break
        place += length + 12
    return width, height, 1.0
