"""Confusion matrix, and the most confused pairs of classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from alexnet_fast.errors import UserError
from alexnet_fast.plots.style import FAINT, INK, SMALL, WIDTH, label_text, styled
from alexnet_fast.utils.arrays import Integers

# Most classes whose numbers fit into the cells, and whose names fit on the axes.
_NUMBERED = 10
_NAMED = 40


@dataclasses.dataclass(frozen=True, kw_only=True)
class Confused:
    """A pair of confused classes.

    Args:
        true: True class of the images.
        predicted: Predicted class.
        count: Number of images.
        share: Fraction of the images of the true class, 0..1.
    """

    true: str
    predicted: str
    count: int
    share: float


@styled
def confusion(matrix: Integers, classes: Sequence[str]) -> Figure:
    """Draws a confusion matrix: counts and row shares for few classes, else the shares as colour.

    Args:
        matrix: int (K, K): rows are true, columns are predicted classes.
        classes: The K names.

    Raises:
        UserError: The matrix does not have one row and column per class.
    """
    shares = row_shares(matrix, classes)
    count = len(classes)
    side = min(WIDTH, 2.8 + 0.5 * count)
    figure = Figure(figsize=(side, side * 0.93), layout="compressed")
    axes = figure.subplots()
    # With many classes, the square root makes rare confusions visible.
    norm = PowerNorm(1.0 if count <= _NUMBERED else 0.5, vmin=0, vmax=1)
    image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    _name_axes(axes, classes)
    if count <= _NUMBERED:
        _write_numbers(axes, matrix, shares)
        axes.set_title("images, and share of the true class", fontsize=SMALL, color=FAINT)
        return figure
    percent = PercentFormatter(xmax=1.0, decimals=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.9, ticks=[0, 0.05, 0.25, 0.5, 1], format=percent)
    bar.outline.set_visible(False)  # type: ignore[operator, unused-ignore]
    bar.set_label("share of the true class", color=FAINT, fontsize=SMALL)
    return figure


def most_confused(matrix: Integers, classes: Sequence[str], n: int = 10) -> list[Confused]:
    """Returns the n most confused pairs, by count, then by share; pairs that are never confused are left out.

    Args:
        matrix: int (K, K): rows are true, columns are predicted classes.
        classes: The K names.
        n: Largest number of pairs.

    Raises:
        UserError: The matrix does not have one row and column per class.
    """
    shares = row_shares(matrix, classes)
    pairs = [(int(row), int(column)) for row, column in np.argwhere(matrix > 0) if row != column]
    pairs.sort(key=lambda at: (-matrix[at], -shares[at], at))
    return [
        Confused(
            true=classes[at[0]], predicted=classes[at[1]], count=int(matrix[at]), share=float(shares[at])
        )
        for at in pairs[:n]
    ]


def row_shares(matrix: Integers, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Returns each row divided by its sum; a class without images stays zero.

    Raises:
        UserError: The matrix is not classes by classes.
    """
    if matrix.shape != (len(classes), len(classes)) or not len(classes):
        raise UserError(
            f"the confusion matrix is {'x'.join(map(str, matrix.shape))} for {len(classes)} class names"
        )
    shares: npt.NDArray[np.float64] = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    return shares


def _name_axes(axes: Axes, classes: Sequence[str]) -> None:
    """Labels both axes; by class number if there are too many names."""
    axes.grid(visible=False)
    axes.set(xlabel="predicted", ylabel="true")
    axes.tick_params(length=0)
    count = len(classes)
    if count > _NAMED:
        axes.set(xlabel="predicted (class number)", ylabel="true (class number)")
        return
    size = SMALL + 1 if count <= _NUMBERED else max(5.5, SMALL - 0.08 * (count - _NUMBERED))
    names = [label_text(name, 18) for name in classes]
    upright = count <= 4 and max(map(len, names)) <= 40 // count
    axes.set_xticks(range(count), names, fontsize=size)
    axes.set_yticks(range(count), names, fontsize=size)
    if not upright:
        for label in axes.get_xticklabels():
            label.set(rotation=60, ha="right", rotation_mode="anchor")


def _write_numbers(axes: Axes, matrix: Integers, shares: npt.NDArray[np.float64]) -> None:
    """Writes count and percentage into each cell, white on dark cells, and lines between cells."""
    size = 12 - 0.45 * len(matrix)
    edges = [place - 0.5 for place in range(1, len(matrix))]
    axes.hlines(edges, -0.5, len(matrix) - 0.5, colors="white", linewidth=1.5)
    axes.vlines(edges, -0.5, len(matrix) - 0.5, colors="white", linewidth=1.5)
    axes.spines[:].set_visible(False)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{matrix[row, column]:,}\n{share:.0%}"
            if len(matrix) > 4
            else f"{matrix[row, column]:,}\n{share:.1%}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if share > 0.55 else INK,
        )
