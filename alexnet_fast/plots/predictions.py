"""Sample images with the classifier's top classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alexnet_fast.errors import UserError
from alexnet_fast.plots.style import (
    GREEN,
    GRID,
    SMALL,
    VERMILLION,
    WIDTH,
    label_text,
    show_pixels,
    styled,
    verdict_color,
)
from alexnet_fast.runtime.prediction import ClassScore
from alexnet_fast.utils.arrays import Pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """An image and its answer.

    Args:
        pixels: uint8 (H, W, 3), RGB.
        truth: Name of the right class; None if unknown.
        guesses: Top classes, most probable first.
    """

    pixels: Pixels
    truth: str | None
    guesses: tuple[ClassScore, ...]


@styled
def predictions(samples: Sequence[Sample], *, columns: int = 4, top: int = 3) -> Figure:
    """Draws images with one bar per guess; right ones are green with a tick, wrong ones red with a cross.

    Args:
        samples: The images.
        columns: Images per row.
        top: Guesses per image.

    Raises:
        UserError: There is no image.
    """
    if not samples:
        raise UserError("there is no prediction to draw")
    bars = min(top, max(len(sample.guesses) for sample in samples))
    columns = min(columns, len(samples))
    rows = -(-len(samples) // columns)
    side = WIDTH / max(columns, 3)
    bar_inches = 0.1 + 0.3 * bars
    figure = Figure(figsize=(side * columns, rows * (side + bar_inches + 0.15)), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.0)  # type: ignore[union-attr, call-arg]
    heights = [side, bar_inches] * rows
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights)
    for number in range(rows * columns):
        image, below = grid[number // columns * 2 : number // columns * 2 + 2, number % columns]
        if number < len(samples):
            _show_sample(image, below, samples[number], bars)
        else:
            image.set_axis_off()
            below.set_axis_off()
    return figure


def _show_sample(image: Axes, below: Axes, sample: Sample, bars: int) -> None:
    """Shows one image and its bars."""
    right = bool(sample.guesses) and sample.guesses[0].label == sample.truth
    frame = GRID if sample.truth is None else GREEN if right else VERMILLION
    show_pixels(image, sample.pixels, frame=frame, width=2.2)
    image.set_anchor("S")
    if sample.truth is not None:
        image.set_title(f"{'✓' if right else '✗'} true: {label_text(sample.truth, 16)}", fontsize=SMALL)
    show_guesses(below, sample, bars)


def show_guesses(axes: Axes, sample: Sample, bars: int) -> None:
    """Draws one bar per guess, with its name above it.

    Args:
        axes: Axes to draw on.
        sample: The image with its guesses.
        bars: Largest number of guesses to show.
    """
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(bars - 0.2, -0.4))
    for place, guess in enumerate(sample.guesses[:bars]):
        color = verdict_color(guess.label, sample.truth, first=place == 0)
        axes.barh(place + 0.3, 1, height=0.16, color=GRID)
        axes.barh(place + 0.3, guess.probability, height=0.16, color=color)
        axes.text(0, place + 0.16, label_text(guess.label, 16), va="bottom", fontsize=SMALL)
        axes.text(1, place + 0.16, f"{guess.probability:.0%}", va="bottom", ha="right", fontsize=SMALL)
