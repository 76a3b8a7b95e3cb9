"""The report of every benchmark: main figure with its spread, baselines, hardware and versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alexnet_fast.bench.interleave import Rates, ratio, summarize

IMAGES_PER_SECOND = "images_per_second"


def main_figure(rates: list[float], unit: str) -> dict[str, Any]:
    """Reports the main figure.

    Args:
        rates: One per counted run.
        unit: Its key, such as "images_per_second".

    Returns:
        `unit` (the median), "low", "high" and "runs".
    """
    return {**_figure(rates, unit), "runs": len(rates)}


def compared(
    rates: Rates, ours: str, unit: str, baselines: Iterable[str] | None = None
) -> list[dict[str, Any]]:
    """Reports the baselines beside ours.

    Args:
        rates: The rates of all candidates, run by run.
        ours: Name of our candidate.
        unit: Key of the figure.
        baselines: Names of the baselines in order; by default all candidates but ours.

    Returns:
        For each baseline "name", `unit` (the median), "low", "high", and "ours_over_it" with "ratio_low" and
        "ratio_high", which are taken run by run.
    """
    names = [name for name in rates if name != ours] if baselines is None else baselines
    rows = []
    for name in names:
        over = ratio(rates[ours], rates[name])
        ratios = {"ours_over_it": over.median, "ratio_low": over.low, "ratio_high": over.high}
        rows.append({"name": name, **_figure(rates[name], unit), **ratios})
    return rows


def _figure(rates: list[float], unit: str) -> dict[str, Any]:
    summary = summarize(rates)
    return {unit: summary.median, "low": summary.low, "high": summary.high}


def machine() -> dict[str, Any]:
    """Returns "hardware" and "versions", without which a figure means nothing."""
    from alexnet_fast.doctor import examine_machine

    facts = examine_machine()
    return {
        "hardware": {"cpu": facts["cpu"], "gpu": facts["gpu"]},
        "versions": {"python": facts["python"], **facts["packages"]},
    }


def machine_line(result: dict[str, Any]) -> str:
    """Names the processor, and the GPUs if there are any, of a result that carries "hardware"."""
    cpu, gpus = result["hardware"]["cpu"], result["hardware"]["gpu"]
    return ", ".join([f"{cpu['name']}, {cpu['cores']} cores", *(str(gpu["name"]) for gpu in gpus)])


def figure_line(row: dict[str, Any], name: str, unit: str, ours: str) -> str:
    """Renders one row of a table.

    Args:
        row: What `main_figure` or an entry of `compared` holds.
        name: Label of the row.
        unit: Key of the figure.
        ours: Name of our candidate, for the comparison.
    """
    line = f"{name:34s} {row[unit]:8.0f} {unit.replace('_per_second', '/s')}"
    line += f"  ({row['low']:.0f} to {row['high']:.0f})"
    if "ours_over_it" not in row:
        return line
    spread = f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
    return f"{line}  {ours} is {row['ours_over_it']:.2f} of it {spread}"


def figure_lines(result: dict[str, Any], unit: str, ours: str) -> list[str]:
    """Renders the main figure and the baselines, a line each."""
    rows = (figure_line(row, row["name"], unit, ours) for row in result["compared"])
    return [figure_line(result, ours, unit, ours), *rows]
