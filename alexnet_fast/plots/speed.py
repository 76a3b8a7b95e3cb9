"""Plots of measured speeds: lines by threads and batch size, cost by size, shares of a limit, roofline."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from alexnet_fast.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDTH,
    styled,
)

# Markers distinguish lines without colour: in grey, and for every kind of colour blindness.
_LOOKS = tuple(
    zip((ORANGE, GREEN, VERMILLION, PURPLE, SKY, FAINT), ("s", "^", "D", "v", "P", "X"), strict=True)
)
_Points = Sequence[tuple[float, Mapping[str, float]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """A plot of lines.

    Args:
        title: Above it.
        x_label: Name of the varied quantity, on a logarithmic axis.
        y_label: Name of the measured quantity.
        series: By name: pairs of the varied value and "value", "low" and "high". The first series is ours.
        log: Whether the measured axis is logarithmic too; else it begins at 0.
    """

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, _Points]
    log: bool = False


@styled
def lines(panels: Sequence[Panel]) -> Figure:
    """Draws panels side by side, with a legend below each panel; error bars span the runs."""
    rows = max(len(panel.series) for panel in panels)
    figure = Figure(figsize=(WIDTH * (1.0 if len(panels) == 1 else 1.5), 3.6 + 0.24 * rows))
    figure.set_layout_engine("constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_panel(axes, panel)
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    """Draws the lines of one panel."""
    looks = itertools.cycle(_LOOKS)
    for number, (name, points) in enumerate(panel.series.items()):
        color, marker = (BLUE, "o") if number == 0 else next(looks)
        alone = "decoding alone" in name
        values = [row["value"] for _, row in points]
        spans = [
            [row["value"] - row["low"] for _, row in points],
            [row["high"] - row["value"] for _, row in points],
        ]
        axes.errorbar(
            [x for x, _ in points],
            values,
            yerr=[[max(0.0, span) for span in side] for side in spans],
            color=INK if alone else color,
            marker=marker,
            linestyle="--" if alone or number > len(_LOOKS) else "-",
            linewidth=2.6 if number == 0 else 1.6,
            markersize=7 if number == 0 else 5.5,
            capsize=2.5,
            elinewidth=1.0,
            label=name,
            zorder=3 if number == 0 else 2,
        )
    axes.set_xscale("log", base=2)
    _name_values(axes, {x for points in panel.series.values() for x, _ in points})
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    if panel.log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=1, handlelength=3)


def _name_values(axes: Axes, values: set[float]) -> None:
    """Puts ticks at the measured values only."""
    axes.xaxis.set_major_locator(FixedLocator(sorted(values)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


@styled
def costs(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draws seconds and memory to the first batch by the size of the data set.

    Args:
        rows: "images", "form", "without" and "with" a cached list in seconds, and "mib".
    """
    figure = Figure(figsize=(WIDTH * 1.5, 4.4), layout="constrained")
    seconds, memory = figure.subplots(1, 2)
    looks: dict[str, tuple[str, str]] = {"folders": (BLUE, "o"), "shards": (ORANGE, "s")}
    for form, (color, marker) in looks.items():
        selected = [row for row in rows if row["form"] == form]
        sizes = [row["images"] for row in selected]
        for key, dash in (("without", "-"), ("with", ":")):
            label = f"{form}, {key} a cached list"
            values = [row[key] for row in selected]
            seconds.plot(sizes, values, dash, marker=marker, markersize=6, color=color, label=label)
        memory.plot(
            sizes, [row["mib"] for row in selected], marker=marker, markersize=6, color=color, label=form
        )
    seconds.set(title="From the command to the first batch", ylabel="seconds")
    memory.set(title="Most memory until then", ylabel="MiB")
    for axes in (seconds, memory):
        axes.set_xscale("log")
        axes.set_xlabel("images in the data set")
        axes.set_ylim(bottom=0)
        _name_values(axes, {row["images"] for row in rows})
        axes.legend()
    return figure


@styled
def shares(rows: Sequence[tuple[str, float, str]], title: str) -> Figure:
    """Draws bars from 0 to each share, with a line at 1, the limit.

    Args:
        rows: Name, share of the limit, and the figure written next to the bar.
        title: Title of the plot.
    """
    figure = Figure(figsize=(WIDTH, 1.1 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))[::-1]
    axes.barh(places, [share for _, share, _ in rows], height=0.62, color=BLUE)
    for place, (_, share, said) in zip(places, rows, strict=True):
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        axes.text(share + 0.02, place, said, va="center", fontsize=9.5, bbox=paper)
    axes.set_yticks(places, [name for name, _, _ in rows])
    axes.axvline(1.0, color=VERMILLION, linewidth=1.8, linestyle="--")
    axes.set_xlim(0, max(1.0, *(share for _, share, _ in rows)) * 1.35)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    axes.grid(visible=False, axis="y")
    axes.set(title=title, xlabel="share of the limit (dashed)")
    return figure


@styled
def roofline(
    roof: Callable[[float], float], groups: Mapping[str, Sequence[tuple[float, float, str]]], title: str
) -> Figure:
    """Draws the roofline of a machine and measured speeds below it.

    Args:
        roof: Largest speed, in 10^9 operations per second, at a number of operations per byte.
        groups: By name: operations per byte, 10^9 operations per second, and the text next to the point.
        title: Title of the plot.
    """
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.subplots()
    intensities = [x for points in groups.values() for x, _, _ in points]
    low, high = min(intensities) / 4, max(intensities) * 4
    steps = [low * (high / low) ** (step / 200) for step in range(201)]
    axes.plot(steps, [roof(x) for x in steps], color=INK, linewidth=2.2, label="limit of the machine")
    for (name, points), (color, marker, place) in zip(
        groups.items(), ((BLUE, "o", (-8, 8)), (ORANGE, "s", (8, -13))), strict=False
    ):
        axes.plot(
            [x for x, _, _ in points],
            [y for _, y, _ in points],
            color=PALE,
            marker=marker,
            markersize=8,
            markerfacecolor=color,
            markeredgecolor="white",
            linewidth=0.8,
            label=name,
        )
        for x, y, said in points:
            axes.annotate(said, (x, y), place, textcoords="offset points", fontsize=9.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlim(low, high)
    axes.set(title=title, xlabel="operations per byte", ylabel="10⁹ operations per second")
    axes.legend(loc="lower right")
    return figure
