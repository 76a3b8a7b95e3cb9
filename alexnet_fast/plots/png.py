"""Figures as PNG files: the same figure gives the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.text import Text

from alexnet_fast.plots.style import STYLE
from alexnet_fast.utils.atomic import write_atomically


def png_bytes(figure: Figure) -> bytes:
    """Returns a figure as PNG, without date or version inside, so that equal figures are equal files."""
    for text in figure.findobj(Text):
        # A font has no glyph for half a character, which stands for a byte that is not UTF-8.
        text.set_text(text.get_text().encode("utf-8", "backslashreplace").decode("utf-8"))
    buffer = io.BytesIO()
    with matplotlib.style.context(STYLE, after_reset=True):
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    write_atomically(path, png_bytes(figure))
