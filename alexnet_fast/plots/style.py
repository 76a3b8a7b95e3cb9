"""Shared style of all plots: size, font, colours that colour-blind readers can distinguish, frames, PNG."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from alexnet_fast.utils.arrays import Floats, Pixels
from alexnet_fast.utils.atomic import write_atomically

P = ParamSpec("P")

# Okabe and Ito, "Color Universal Design" (2008), less the yellow, which is too pale for lines on white.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
INK, FAINT, PALE, GRID = "#1f2933", "#5f6b76", "#9aa5b1", "#e3e7eb"

# Inches. At 160 dots per inch this fills a report's column at twice its pixels, and stays readable on a
# phone.
WIDTH = 7.0
SMALL = 9.5

STYLE: dict[str, Any] = {
    "figure.dpi": 160,
    "savefig.dpi": "figure",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called $x$
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.labelsize": 10.5,
    "axes.edgecolor": PALE,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in this style regardless of the user's matplotlibrc; matplotlib's settings do not change."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return in_style


def label_text(name: str, most: int = 24) -> str:
    """Returns a name as one printable line, with the middle of a long one cut out."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    name = " ".join(printable.split()) or "(blank)"
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def verdict_color(name: object, truth: object, *, first: bool) -> str:
    """Returns the colour of a guess: green if right, red for a wrong first guess, grey for the rest.

    Args:
        name: The guessed class.
        truth: The right class; None if unknown, which leaves blue for the first guess.
        first: Whether the guess is the top class.
    """
    if truth is None:
        return BLUE if first else PALE
    if name == truth:
        return GREEN
    return VERMILLION if first else PALE


def show_pixels(axes: Axes, pixels: Pixels, *, frame: str = GRID, width: float = 0.8) -> None:
    """Shows an image without axes in a square frame, so that images of any shape line up in a grid.

    Args:
        axes: Axes to draw on.
        pixels: uint8 (H, W, 3), RGB.
        frame: Colour of the frame.
        width: Thickness of the frame in points.
    """
    axes.imshow(pixels, interpolation="antialiased")
    height, width_px = pixels.shape[:2]
    side = max(height, width_px)
    axes.set_xlim((width_px - side) / 2 - 0.5, (width_px + side) / 2 - 0.5)
    axes.set_ylim((height + side) / 2 - 0.5, (height - side) / 2 - 0.5)
    bare(axes, frame=frame, width=width)


def bare(axes: Axes, *, frame: str = GRID, width: float = 0.8) -> None:
    """Removes ticks and grid and draws a frame."""
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame, linewidth=width)


def png_bytes(figure: Figure) -> bytes:
    """Returns a figure as PNG, without date or version inside, so that equal figures are equal files."""
    for text in figure.findobj(Text):
        # Fonts have no glyph for lone surrogates, which encode bytes that are not UTF-8.
        text.set_text(text.get_text().encode("utf-8", "backslashreplace").decode("utf-8"))
    buffer = io.BytesIO()
    with matplotlib.style.context(STYLE, after_reset=True):
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG atomically.

    Raises:
        UserError: The file cannot be written.
    """
    write_atomically(path, png_bytes(figure))


# Smallest side of the sheet in pixels, so that edges stay sharp when the page is scaled.
_SHEET = 1000
_GAP = 4


def tile_sheet(tiles_nhwc: Floats, columns: int, title: str, note: str) -> Figure:
    """Arranges tiles in rows with white lines between them, a title and a note.

    Args:
        tiles_nhwc: float32 (N, H, W, 3), 0 to 1.
        columns: Tiles per row.
        title: Title.
        note: Text below the tiles.
    """
    rows = -(-len(tiles_nhwc) // columns)
    enlarged = max(1, -(-_SHEET // (columns * tiles_nhwc.shape[2])))
    big = tiles_nhwc.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    height, width = big.shape[1] + _GAP, big.shape[2] + _GAP
    sheet = np.ones((rows * height - _GAP, columns * width - _GAP, 3), np.float32)
    for number, tile in enumerate(big):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + height - _GAP, left : left + width - _GAP] = tile
    figure = Figure(figsize=(WIDTH, 0.6 + WIDTH * sheet.shape[0] / sheet.shape[1]), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet, interpolation="antialiased")
    bare(axes, frame="none")
    axes.set_title(title)
    axes.set_xlabel(note, fontsize=SMALL, color=FAINT, loc="left")
    return figure
