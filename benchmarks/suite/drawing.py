"""The plots of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from alexnet_fast.plots import speed
from benchmarks.suite import rows
from benchmarks.suite.arithmetic import Point, points, roof
from benchmarks.suite.parts import Device
from benchmarks.suite.rows import Results
from benchmarks.suite.tables import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def of_device(results: Results, device: Device) -> dict[str, Callable[[], Figure]]:
    """Returns functions that draw the plots of a device, by name; none if nothing was measured."""
    drawings: dict[str, Callable[[], Figure]] = {}
    if rows.by_threads(results, device):
        drawings[f"threads-{device}"] = lambda: _threads(results, device)
    if rows.compute_by_batch(results, device):
        drawings[f"batch-{device}"] = lambda: _batches(results, device)
    if rows.latency_by_batch(results, device):
        drawings[f"latency-{device}"] = lambda: _latency(results, device)
    if rows.decoding_limits(results, device):
        drawings[f"limits-{device}"] = lambda: _limits(results, device)
    if points(results, device):
        drawings[f"roofline-{device}"] = lambda: _roofline(results, device)
    return drawings


def startup(results: Results) -> Figure:
    """Draws the cost by data set size."""
    return speed.costs(rows.startup_rows(results))


def _threads(results: Results, device: Device) -> Figure:
    title = "Loading prepared images (shorter side 256)"
    panel = speed.Panel(
        title=title, x_label="threads", y_label="images/s", series=rows.by_threads(results, device)
    )
    return speed.lines([panel])


def _batches(results: Results, device: Device) -> Figure:
    loaded, trained = rows.input_by_batch(results, device), rows.compute_by_batch(results, device)
    kinds = (("Loading prepared images", loaded), (f"Training steps, {results['scale']['model']}", trained))
    return speed.lines(
        [
            speed.Panel(title=title, x_label="images a batch", y_label="images/s", series=series)
            for title, series in kinds
            if series
        ]
    )


def _latency(results: Results, device: Device) -> Figure:
    panel = speed.Panel(
        title="An answer of ten crops, median (bars: quickest to p99)",
        x_label="images a call",
        y_label="milliseconds",
        series=rows.latency_by_batch(results, device),
        log=True,
    )
    return speed.lines([panel])


def _limits(results: Results, device: Device) -> Figure:
    bars = [
        (f"loading {row['name']}", row["share"], f"{count(row['ours'])} of {count(row['limit'])} images/s")
        for row in rows.decoding_limits(results, device)
    ]
    bars += [
        (f"{point.name}, batch {point.batch}", point.share, f"{count(point.gflops)}·10⁹ operations/s")
        for point in points(results, device)
    ]
    return speed.shares(bars, "Distance from decoding alone, and from the roof of arithmetic")


def _roofline(results: Results, device: Device) -> Figure:
    over = roof(results, device)
    assert over is not None
    groups: dict[str, list[Point]] = {}
    for point in points(results, device):
        groups.setdefault(point.name, []).append(point)
    title = f"{over.gflops:,.0f}·10⁹ operations/s, {over.gb_per_second:,.0f}·10⁹ bytes/s by copying"
    return speed.roofline(
        over.at,
        {
            name: [(point.intensity, point.gflops, f"batch {point.batch}") for point in points]
            for name, points in groups.items()
        },
        title,
    )
