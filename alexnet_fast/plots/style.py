"""What all images share: size, type, colours that colour-blind readers can tell apart, and frames."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Pixels = npt.NDArray[np.uint8]
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

# Inches. At 160 dots an inch this fills a report's column at twice its pixels, and stays readable on a phone.
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
    """Draws in this style, whatever the user's matplotlibrc says; matplotlib's settings stay as they were."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.style.context(STYLE, after_reset=True):
            return draw(*args, **kwargs)

    return in_style


def label_text(name: str, most: int = 24) -> str:
    """Returns a name fit for an image: one line, printable, its middle cut out where it is long."""
    printable = "".join(letter if letter.isprintable() else " " for letter in name)
    name = " ".join(printable.split()) or "(blank)"
    if len(name) <= most:
        return name
    tail = (most - 1) // 2
    return f"{name[: most - 1 - tail]}…{name[-tail:]}"


def verdict_colour(name: object, truth: object, *, first: bool) -> str:
    """Returns the colour of a guess: green if right, red for a wrong first guess, grey for the rest.

    Args:
        name: The guessed class.
        truth: The right class; None where it is not known, which leaves blue for the first guess.
        first: Whether it is the likeliest.
    """
    if truth is None:
        return BLUE if first else PALE
    if name == truth:
        return GREEN
    return VERMILLION if first else PALE


def show_pixels(axes: Axes, pixels: Pixels, *, frame: str = GRID, width: float = 0.8) -> None:
    """Shows an image without axes in a square frame, so that images of any shape line up in a grid.

    Args:
        axes: Where.
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
    """Takes ticks and grid off and draws a frame around."""
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=frame, linewidth=width)
