"""What every benchmark report holds: the main figure with its spread, baselines, hardware and versions."""

from __future__ import annotations

from typing import Any

from alexnet_fast.bench.interleave import Rates, figure, ratio


def main_figure(rates: list[float], unit: str) -> dict[str, Any]:
    """Reports the main figure.

    Args:
        rates: One a counted run.
        unit: Its key, such as "images_per_second".

    Returns:
        `unit` (the median), "low", "high" and "runs".
    """
    found = figure(rates)
    return {unit: found.median, "low": found.low, "high": found.high, "runs": len(rates)}


def compared(rates: Rates, ours: str, baselines: list[str], unit: str) -> list[dict[str, Any]]:
    """Reports baselines beside ours.

    Args:
        rates: Of everyone, run by run.
        ours: Name of ours.
        baselines: Names in the order wanted.
        unit: Key of the figure.

    Returns:
        Per baseline "name", `unit` (the median), "low", "high", and "ours_over_it" with its own "ratio_low"
        and "ratio_high", which are taken run by run.
    """
    return [_baseline(name, rates[name], rates[ours], unit) for name in baselines]


def _baseline(name: str, rates: list[float], ours: list[float], unit: str) -> dict[str, Any]:
    """Reports one baseline."""
    found, over = figure(rates), ratio(ours, rates)
    return {
        "name": name,
        unit: found.median,
        "low": found.low,
        "high": found.high,
        "ours_over_it": over.median,
        "ratio_low": over.low,
        "ratio_high": over.high,
    }


def machine() -> dict[str, Any]:
    """Returns "hardware" and "versions", without which a figure says nothing."""
    from alexnet_fast.doctor import examine_machine

    found = examine_machine()
    return {
        "hardware": {"cpu": found["cpu"], "gpu": found["gpu"]},
        "versions": {"python": found["python"], **found["packages"]},
    }


def machine_line(result: dict[str, Any]) -> str:
    """Names the processor, and the GPU where there is one, of a result that carries "hardware"."""
    cpu, gpus = result["hardware"]["cpu"], result["hardware"]["gpu"]
    return ", ".join([f"{cpu['name']}, {cpu['cores']} cores", *(str(gpu["name"]) for gpu in gpus)])


def figure_line(row: dict[str, Any], name: str, unit: str, ours: str) -> str:
    """Renders one row of a table.

    Args:
        row: What `main_figure` or an entry of `compared` holds.
        name: What the row is called.
        unit: Key of the figure.
        ours: Name of ours, for the comparison.
    """
    line = f"{name:34s} {row[unit]:8.0f} {unit.replace('_per_second', '/s')}"
    line += f"  ({row['low']:.0f} to {row['high']:.0f})"
    if "ours_over_it" not in row:
        return line
    spread = f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
    return f"{line}  {ours} is {row['ours_over_it']:.2f} of it {spread}"
