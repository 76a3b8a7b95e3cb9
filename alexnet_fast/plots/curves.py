"""Loss, accuracy and learning rate over the epochs of a run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from alexnet_fast.errors import UserError
from alexnet_fast.plots.style import BLUE, FAINT, INK, ORANGE, VERMILLION, WIDTH, styled
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.metrics_log import best_row

# More rates than this belong to a schedule that changes at every step: their ticks would overlap.
_FEW_RATES = 5
# Factor by which the axis exceeds the rates, and the fraction of its height that a label takes.
_RATE_MARGIN = 2.5
_LABEL_SHARE = 0.25


@styled
def curves(rows: Sequence[EpochMetrics]) -> Figure:
    """Draws training and validation curves, with a ring around the best epoch.

    Args:
        rows: One per epoch, in order; at least one.

    Raises:
        UserError: There is no epoch.
    """
    if not rows:
        raise UserError("there is no finished epoch to draw", "wait for the first one")
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    loss, accuracy, rate = figure.subplots(3, 1, sharex=True, height_ratios=[4, 4, 1.3])
    handles = _pair(loss, rows, "loss")
    _pair(accuracy, rows, "top1")
    handles.append(_ring(accuracy, best_row(list(rows))))
    loss.set_ylabel("loss")
    accuracy.set_ylabel("top-1 accuracy\n(one crop)")
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 2):g}%"))
    _rates(rate, rows)
    for axes in (loss, accuracy, rate):
        _mark_drops(axes, rows)
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    rate.set_xlim(rows[0].epoch - 0.5, rows[-1].epoch + 0.5)
    figure.align_ylabels()
    figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _pair(axes: Axes, rows: Sequence[EpochMetrics], metric: str) -> list[Line2D]:
    """Draws the training and the validation curve of one metric."""
    epochs = [row.epoch for row in rows]
    marker = "o" if len(rows) <= 40 else ""
    return [
        axes.plot(
            epochs,
            [getattr(row, f"{split}_{metric}") for row in rows],
            dash,
            marker=marker,
            color=color,
            label=name,
        )[0]
        for split, name, color, dash in (
            ("train", "training", ORANGE, "--"),
            ("val", "validation", BLUE, "-"),
        )
    ]


def _ring(axes: Axes, best: EpochMetrics) -> Line2D:
    """Draws a ring around the validation accuracy of the best epoch."""
    (ring,) = axes.plot(
        [best.epoch],
        [best.val_top1],
        "o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=VERMILLION,
        markeredgewidth=1.8,
        clip_on=False,
        label=f"best: epoch {best.epoch}, {best.val_top1:.1%}",
    )
    return ring


def _rates(axes: Axes, rows: Sequence[EpochMetrics]) -> None:
    """Draws the learning rate as steps, with each rate on the axis."""
    epochs = [row.epoch for row in rows]
    edges = [epochs[0] - 0.5, *(epoch + 0.5 for epoch in epochs)]
    axes.stairs([row.lr for row in rows], edges, baseline=None, color=INK, linewidth=1.8)
    axes.set_ylabel("learning\nrate")
    rates = sorted({row.lr for row in rows})
    if rates[0] > 0:
        axes.set_yscale("log")
        axes.set_ylim(rates[0] / _RATE_MARGIN, rates[-1] * _RATE_MARGIN)
        axes.yaxis.set_minor_locator(NullLocator())
    if len(rates) <= _FEW_RATES:
        axes.yaxis.set_major_locator(FixedLocator(_apart(rates)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.3g}"))


def _apart(rates: Sequence[float]) -> list[float]:
    """Returns the rates, in ascending order, whose labels do not overlap on the axis."""
    if rates[0] <= 0:
        return list(rates)
    room = _LABEL_SHARE * math.log(rates[-1] / rates[0] * _RATE_MARGIN**2)
    named = [rates[0]]
    for rate in rates[1:-1]:
        if min(math.log(rate / named[-1]), math.log(rates[-1] / rate)) >= room:
            named.append(rate)
    return [*named, rates[-1]] if rates[-1] > rates[0] else named


def _mark_drops(axes: Axes, rows: Sequence[EpochMetrics]) -> None:
    """Draws a line at each drop of the learning rate."""
    drops = [row.epoch - 0.5 for before, row in itertools.pairwise(rows) if row.lr < before.lr]
    if len(drops) < _FEW_RATES:
        for epoch in drops:
            axes.axvline(epoch, color=FAINT, linewidth=0.9, linestyle=(0, (2, 3)), zorder=1)
