"""The ten crops of an image: their positions and the network's answer to each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import crop_offsets, take_crops
from alexnet_fast.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SMALL,
    VERMILLION,
    WIDTH,
    label_text,
    show_pixels,
    styled,
    verdict_color,
)
from alexnet_fast.runtime.prediction import top_indices
from alexnet_fast.utils.arrays import Pixels, Probabilities

# In the order of `pipelines.ten_crop.crop_offsets`.
_PLACES = ("top left", "top right", "bottom left", "bottom right", "centre")
_COLORS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE)
# Most bars of the average; of more classes only the top ones are drawn.
_BARS = 5


@styled
def crops(
    square: Pixels,
    spec: AugmentSpec,
    probabilities: Probabilities | None = None,
    classes: Sequence[str] = (),
    *,
    truth: int | None = None,
) -> Figure:
    """Draws the square with the frames of its crops, and the ten crops in their order.

    Args:
        square: uint8 (resize, resize, 3), RGB: what the crops are cut from.
        spec: Sizes.
        probabilities: (10, K), one row per crop in the order of `pipelines.ten_crop.take_crops`, or None.
        classes: The K names; needed with probabilities.
        truth: Index of the right class, if known.

    Raises:
        UserError: The network takes the whole square, or the sizes do not match.
    """
    offsets = crop_offsets(spec, "ten")
    _check(square, spec, probabilities, classes)
    figure = Figure(figsize=(WIDTH, 6.3), layout="constrained")
    top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=[1, 1.02]).flat
    _show_square(top, square, spec, offsets, beside=probabilities is not None)
    if probabilities is not None:
        _show_average(top.axes[1], probabilities.mean(axis=0), classes, truth)
    tiles = [square[y : y + spec.crop, x : x + spec.crop] for y, x in offsets]
    tiles += [tile[:, ::-1] for tile in tiles]
    _show_tiles(bottom, tiles, probabilities, classes, truth)
    return figure


def crop_by_crop(net: nn.Module, square: Pixels, spec: AugmentSpec) -> npt.NDArray[np.float32]:
    """Classifies each crop of one image.

    Args:
        net: In evaluation mode, on the CPU.
        square: uint8 (resize, resize, 3), RGB.
        spec: Sizes and normalisation.

    Returns:
        Probabilities, float32 (10, K), in the order of `pipelines.ten_crop.take_crops`.

    Raises:
        UserError: The network takes the whole square.
    """
    with torch.inference_mode():
        logits = net(take_crops(torch.tensor(square)[None], spec, "ten"))
        probabilities: npt.NDArray[np.float32] = logits.float().softmax(dim=1).numpy()
    return probabilities


def _check(
    square: Pixels, spec: AugmentSpec, probabilities: Probabilities | None, classes: Sequence[str]
) -> None:
    """Checks the shapes of image and probabilities.

    Raises:
        UserError: A shape does not match.
    """
    if square.shape != (spec.resize, spec.resize, 3):
        raise UserError(
            f"the image is {'x'.join(map(str, square.shape))}, the crops are cut from"
            f" {spec.resize}x{spec.resize}x3",
            "resize it first (pipelines.cpu.pillow.to_square)",
        )
    if probabilities is not None and probabilities.shape != (10, len(classes)):
        raise UserError(
            f"the probabilities are {'x'.join(map(str, probabilities.shape))}, not 10x{len(classes)}:"
            " one row per crop, one column per class"
        )


def _show_square(
    figure: SubFigure, square: Pixels, spec: AugmentSpec, offsets: Sequence[tuple[int, int]], *, beside: bool
) -> None:
    """Shows the square with one frame per crop; leaves room next to it if `beside` is set."""
    axes = figure.subplots(1, 2, width_ratios=[1, 1.05])[0] if beside else figure.subplots()
    show_pixels(axes, square)
    axes.set_title(f"the {spec.resize}x{spec.resize} image and its crops")
    for (y, x), color in zip(offsets, _COLORS, strict=True):
        # Half a pixel out: imshow puts pixel centres on whole numbers.
        side = spec.crop
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, edgecolor="white", linewidth=3))
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, edgecolor=color, linewidth=1.8))
    axes.set(xlim=(-3, spec.resize + 2), ylim=(spec.resize + 2, -3))


def _show_average(axes: Axes, average_k: Probabilities, classes: Sequence[str], truth: int | None) -> None:
    """Draws the average over the ten crops as bars, most probable first."""
    order = top_indices(average_k, _BARS)
    places = np.arange(len(order))
    colors = [verdict_color(k, truth, first=place == 0) for place, k in enumerate(order.tolist())]
    axes.barh(places, average_k[order], height=0.55, color=colors)
    for place, k in enumerate(order.tolist()):
        axes.text(
            0,
            place - 0.34,
            label_text(classes[k], 26) + (" (true)" if k == truth else ""),
            va="bottom",
            fontsize=SMALL,
        )
        axes.text(average_k[k] + 0.015, place, f"{average_k[k]:.1%}", va="center", fontsize=SMALL)
    axes.set_title("average of the ten" if len(order) == len(classes) else f"average of the ten: top {_BARS}")
    axes.set_ylim(max(len(order), 3) - 0.4, -0.8)
    axes.set_xlim(0, 1.14)
    axes.set_xticks([0, 0.5, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0))
    axes.set_xlabel("probability")
    axes.set_yticks([])
    axes.grid(visible=False, axis="y")


def _show_tiles(
    figure: SubFigure,
    tiles: Sequence[Pixels],
    probabilities: Probabilities | None,
    classes: Sequence[str],
    truth: int | None,
) -> None:
    """Shows the five unmirrored crops, and their mirror images below."""
    grid = figure.subplots(2, 5)
    for number, (axes, tile) in enumerate(zip(grid.flat, tiles, strict=True)):
        show_pixels(axes, tile, frame=_COLORS[number % 5], width=2.2)
        if number < 5:
            axes.set_title(_PLACES[number], fontsize=SMALL, loc="center")
        if probabilities is not None:
            top = int(probabilities[number].argmax())
            mark = "" if truth is None else "✓ " if top == truth else "✗ "
            answer = f"{mark}{label_text(classes[top], 11)} {probabilities[number, top]:.0%}"
            wrong = truth is not None and top != truth
            axes.set_xlabel(answer, fontsize=SMALL, color=VERMILLION if wrong else INK)
    grid[0, 0].set_ylabel("unmirrored", fontsize=SMALL, color=FAINT)
    grid[1, 0].set_ylabel("mirrored", fontsize=SMALL, color=FAINT)
