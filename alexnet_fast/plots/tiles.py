"""Many small images as one sheet."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from alexnet_fast.plots.style import FAINT, SMALL, WIDTH, bare

Tiles = npt.NDArray[np.float32]

# Pixels a side that the whole sheet should have at least, so that edges stay sharp when the page is scaled.
_SHEET = 1000
_GAP = 4


def tile_sheet(tiles_nhwc: Tiles, columns: int, what: str, note: str) -> Figure:
    """Lays tiles out in rows, a white line between them, with a line that says what they are.

    Args:
        tiles_nhwc: float32 (N, H, W, 3), 0 to 1.
        columns: Tiles a row.
        what: Title.
        note: Stands below.
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
    axes.set_title(what)
    axes.set_xlabel(note, fontsize=SMALL, color=FAINT, loc="left")
    return figure
