"""The figures of a run as rows and series, ready for tables and plots; nothing is measured or drawn here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alexnet_fast.bench.infer_backends import SINGLE
from alexnet_fast.bench.input import LIMIT, NAMES
from alexnet_fast.bench.report import IMAGES_PER_SECOND
from benchmarks.suite.parts import COMPUTE, FILES, INFER, PREPARED, SERVE, STARTUP, TRAIN, Device

Results = dict[str, Any]
# Name of a candidate, and its points: what was varied, and a row with the figure, "low" and "high".
Series = dict[str, list[tuple[float, dict[str, Any]]]]

OURS = "ours"
TURBO = "libjpeg-turbo, decoding alone"


def of_kind(results: Results, name: str, device: Device) -> list[tuple[str, dict[str, Any]]]:
    """Returns the parts of a kind that were measured, as (variant, result), in the order of the run."""
    return [
        (record["variant"], record["result"])
        for record in results["parts"].values()
        if (record["part"], record["device"]) == (name, device) and "result" in record
    ]


def not_measured(results: Results, device: Device) -> Iterator[tuple[str, str]]:
    """Yields the commands that failed, each with its error."""
    for record in results["parts"].values():
        if record["device"] == device and "error" in record:
            yield record["command"], record["error"]


def input_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns ours, the other loaders and decoding alone, each with "name", the rate and its spread."""
    ours = {"name": f"{OURS}: {NAMES[result['loader']]}", **result}
    return [ours, *result["compared"]]


def by_threads(results: Results, device: Device) -> Series:
    """Returns images per second by threads, on prepared images."""
    collected: Series = {}
    for variant, result in of_kind(results, PREPARED, device):
        if variant.endswith("threads"):
            for row in input_rows(result):
                collected.setdefault(row["name"], []).append((result["workers"], _rate(row)))
    return collected


def input_by_batch(results: Results, device: Device) -> Series:
    """Returns images per second by batch size, with as many threads as cores."""
    collected: Series = {}
    for _, result in of_kind(results, PREPARED, device):
        if result["workers"] == results["cores"]:
            for row in input_rows(result):
                if row["name"] != LIMIT:
                    collected.setdefault(row["name"], []).append((result["batch_size"], _rate(row)))
    return _in_order({name: points for name, points in collected.items() if len(points) > 1})


def compute_by_batch(results: Results, device: Device) -> Series:
    """Returns images per second of training steps on one batch, by batch size."""
    collected: Series = {}
    for _, result in of_kind(results, COMPUTE, device):
        for row in ({**result, "name": OURS}, *result["compared"]):
            collected.setdefault(row["name"], []).append((result["batch_size"], _rate(row)))
    return _in_order(collected)


def latency_by_batch(results: Results, device: Device) -> Series:
    """Returns the milliseconds of a prediction by batch size; "low" and "high" are the quickest and p99."""
    collected: Series = {}
    for _, result in of_kind(results, INFER, device):
        for batch in result["batches"]:
            for row in ({**batch, "name": result["ours"]}, *batch["compared"]):
                point = {"value": row["p50_ms"], "low": row["low"], "high": row["p99_ms"]}
                collected.setdefault(row["name"], []).append((batch["batch_size"], point))
    return collected


def served(results: Results, device: Device) -> list[dict[str, Any]]:
    """Returns the results of the server, a row per number of concurrent requests."""
    return [result for _, result in of_kind(results, SERVE, device)]


def startup_rows(results: Results) -> list[dict[str, Any]]:
    """Returns a row per data set: "images", "form", and "seconds" and "mib" with and without cached list."""
    rows = []
    for variant, result in of_kind(results, STARTUP, "cpu"):
        size, form = variant.split("-")
        (without,) = result["compared"]
        rows.append(
            {
                "images": int(size),
                "form": form,
                "without": without["seconds"],
                "with": result["seconds"],
                "mib": result["peak_mib"],
            }
        )
    return rows


def training(results: Results, device: Device) -> dict[str, Any] | None:
    """Returns the result of `bench train`, or None."""
    collected = of_kind(results, TRAIN, device)
    return collected[0][1] if collected else None


def decoding_limits(results: Results, device: Device) -> list[dict[str, Any]]:
    """Returns ours as a share of libjpeg-turbo decoding alone (or DALI if that is missing), by data set."""
    rows = []
    for name, called in ((FILES, "500 x 375"), (PREPARED, "shorter side 256")):
        for variant, result in of_kind(results, name, device):
            if variant == f"{results['cores']}-threads" and (limit := _limit(result["compared"])):
                rows.append(
                    {
                        "name": called,
                        "ours": result[IMAGES_PER_SECOND],
                        "limit": limit[IMAGES_PER_SECOND],
                        "limit_name": limit["name"],
                        "share": limit["ours_over_it"],
                        "low": limit["ratio_low"],
                        "high": limit["ratio_high"],
                    }
                )
    return rows


def single_crop_rates(results: Results, device: Device) -> list[tuple[int, float]]:
    """Returns (batch size, images per second) of our file with one crop."""
    return [
        (int(size), size / point["value"] * 1e3)
        for size, point in latency_by_batch(results, device).get(SINGLE, [])
    ]


def _limit(compared: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Returns the row of decoding alone that counts as the limit."""
    rows = {row["name"]: row for row in compared}
    return rows.get(TURBO) or rows.get(LIMIT)


def _rate(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a point of a series of rates."""
    return {"value": row[IMAGES_PER_SECOND], "low": row["low"], "high": row["high"]}


def _in_order(series: Series) -> Series:
    """Sorts the points of each series."""
    return {name: sorted(points, key=lambda point: point[0]) for name, points in series.items()}
