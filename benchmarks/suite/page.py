"""The page of a full run, with tables and plots; every figure comes from results.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_fast.bench.report import machine_line
from alexnet_fast.utils.atomic import make_dir, write_atomically
from benchmarks.suite import rows
from benchmarks.suite.arithmetic import Point, points
from benchmarks.suite.parts import FILES, ROOFLINE, Device
from benchmarks.suite.rows import Results, Series
from benchmarks.suite.tables import NOT_MEASURED, count, spread, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, PLOTS = "benchmarks.md", "benchmarks"
DEVICES: dict[Device, str] = {"cpu": "CPU", "cuda": "GPU"}


def write_page(results: Results, directory: Path) -> Path:
    """Writes the page and its plots.

    Args:
        results: From `run_suite`.
        directory: Folder for benchmarks.md and a folder benchmarks with the plots.

    Returns:
        The page.
    """
    from alexnet_fast.plots.style import save_png

    make_dir(directory / PLOTS)
    lines = [*_head(results), *_limits(results)]
    for section in (_input, _compute, _answers, _serving, _startup, _failures):
        lines += section(results)
    for name, draw in plots(results).items():
        save_png(draw(), directory / PLOTS / f"{name}.png")
    write_atomically(directory / PAGE, ("\n".join(lines) + "\n").encode())
    return directory / PAGE


def plots(results: Results) -> dict[str, Callable[[], Figure]]:
    """Returns functions that draw the plots for which there are figures, by file name."""
    from benchmarks.suite import drawing

    entries: dict[str, Callable[[], Figure]] = {}
    for device in DEVICES:
        entries |= drawing.of_device(results, device)
    if rows.startup_rows(results):
        entries["startup"] = lambda: drawing.startup(results)
    return entries


def _head(results: Results) -> list[str]:
    """Returns the introduction: the source of the figures, and how to fill the empty columns."""
    versions = results["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    runs = results["scale"]["runs"]
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; every figure is one of `results.json`. docs/performance.md says how",
        "they are measured.",
        f"Candidates take turns; figures are medians of n = {runs}, with the lowest and highest behind;"
        f" of answers n = {2 * runs + 1}, of the roof {max(runs, 3)}, of starts 1.",
        "",
        f"{results['date']}, {machine_line(results)}, commit {results['commit'] or 'unknown'}; {named}.",
        "",
    ]
    if results["quick"]:
        lines += ["**Made with `--quick`: it shows that everything runs, and its figures say nothing.**", ""]
    if "cuda" not in results["devices"]:
        lines += [
            "There was no GPU. `make bench` on a machine with an NVIDIA GPU fills the GPU columns: it is the"
            " same command and the same code.",
            "",
        ]
    return lines


def _plot(results: Results, name: str, says: str) -> list[str]:
    """Returns the line that shows a plot, if there is one."""
    return [f"![{says}]({PLOTS}/{name}.png)", ""] if name in plots(results) else []


def _each_device(results: Results, name: str, says: str) -> list[str]:
    """Returns the plots of a kind, one per device, or a line that there is none."""
    lines = []
    for device, called in DEVICES.items():
        shown = _plot(results, f"{name}-{device}", f"{says}, {called}")
        lines += shown or [f"{called}: {NOT_MEASURED}.", ""]
    return lines


def _limits(results: Results) -> list[str]:
    """The machine's limits, and the distance from them."""
    figures = [rows.of_kind(results, ROOFLINE, device) for device in DEVICES]
    measured = [entries[0][1] if entries else {} for entries in figures]
    kinds = {
        "gemm_gflops": "multiplying matrices, float32, 10⁹ operations/s",
        "gemm_fp16_gflops": "multiplying matrices, float16, 10⁹ operations/s",
        "conv_gflops": "convolving as conv3 does, float32 (torch's default on a GPU: TF32), 10⁹ operations/s",
        "copy_gb_per_second": "copying memory, 10⁹ bytes/s",
    }
    body = [
        [label, *(spread(entry[name], "median") if name in entry else NOT_MEASURED for entry in measured)]
        for name, label in kinds.items()
        if name != "gemm_fp16_gflops" or measured[1]
    ]
    lines = ["## Limits of the machine, and the distance from them", ""]
    lines += [*table(["torch", *DEVICES.values()], body), ""]
    lines += _decoding(results)
    lines += ["### Arithmetic", "", _HOW_COUNTED, ""]
    for device, called in DEVICES.items():
        under = points(results, device)
        if under:
            head = [called, "batch", "images/s", "10⁹ operations/s", "operations a byte", "of the roof"]
            lines += [*table(head, [_point_row(point) for point in under]), ""]
    return [*lines, *_each_device(results, "roofline", "Measured speeds under the machine's roof")]


_HOW_COUNTED = (
    "Operations are two a multiplication with addition, three times as many in a training step; bytes count"
    " each tensor once when a layer reads it and once when it writes it, without fusion. The roof is what the"
    " table above allows at as many operations a byte."
)


def _point_row(point: Point) -> list[str]:
    """Returns the row of a speed under the roof."""
    figures = [count(point.images_per_second), count(point.gflops), count(point.intensity)]
    return [point.name, str(point.batch), *figures, f"{point.share:.0%}"]


def _decoding(results: Results) -> list[str]:
    """Ours beside decoding alone."""
    body = []
    for device, called in DEVICES.items():
        entries = rows.decoding_limits(results, device)
        body += [
            [
                f"{called}, {row['name']}",
                count(row["ours"]),
                f"{count(row['limit'])} ({row['limit_name']})",
                f"{row['share']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
            ]
            for row in entries
        ] or [[called, *[NOT_MEASURED] * 3]]
    head = ["input", "ours, images/s", "decoding alone, images/s", "ours / decoding alone"]
    says = "Ours as a share of decoding alone and of the roof"
    return ["### Decoding", "", *table(head, body), "", *_each_device(results, "limits", says)]


def _series_table(results: Results, series: Callable[[Results, Device], Series], what: str) -> list[str]:
    """Returns a table with a row per candidate and a column per value, for CPU and GPU."""
    entries = {device: series(results, device) for device in DEVICES}
    values = {d: sorted({x for line in entries[d].values() for x, _ in line}) for d in DEVICES}
    head = [what] + [f"{called} {x:g}" for d, called in DEVICES.items() for x in values[d]]
    head += [called for d, called in DEVICES.items() if not values[d]]
    names = dict.fromkeys(name for line in entries.values() for name in line)
    body = []
    for name in names:
        cells = [name]
        for device in DEVICES:
            figures = dict(entries[device].get(name, []))
            cells += [spread(figures[x]) if x in figures else NOT_MEASURED for x in values[device]]
            cells += [] if values[device] else [NOT_MEASURED]
        body.append(cells)
    return [*table(head, body), ""]


def _input(results: Results) -> list[str]:
    """Loaders."""
    lines = ["## Input", "", "### By threads, prepared images, images/s", ""]
    lines += _series_table(results, rows.by_threads, "threads")
    lines += _each_device(results, "threads", "Images a second by threads")
    lines += ["### By batch size, prepared images, images/s", ""]
    lines += _series_table(results, rows.input_by_batch, "batch")
    lines += ["### Images of 500 x 375, images/s", ""]
    for device, called in DEVICES.items():
        for _, result in rows.of_kind(results, FILES, device):
            body = [
                [row["name"], spread(row, "images_per_second"), _times(row)]
                for row in rows.input_rows(result)
            ]
            body += [[name, f"not run: {reason}", ""] for name, reason in result["not_run"].items()]
            head = [f"{called}, {result['workers']} threads, n = {result['runs']}", "images/s", "ours / it"]
            lines += [*table(head, body), ""]
    return lines


def _times(row: dict[str, Any]) -> str:
    """Returns the speed of ours over a row."""
    if "ours_over_it" not in row:
        return ""
    return f"{row['ours_over_it']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"


def _compute(results: Results) -> list[str]:
    """Training steps and training."""
    model = results["scale"]["model"]
    lines = ["## Training", "", f"### A step of `{model}` by batch size, images/s", ""]
    lines += _series_table(results, rows.compute_by_batch, "batch")
    lines += _each_device(results, "batch", "Images a second by batch size, input and training steps")
    entries = [rows.training(results, device) for device in DEVICES]
    body = [
        [label, *(count(entry[name]) if entry else NOT_MEASURED for entry in entries)]
        for name, label in (("input", "input alone"), ("compute", "computation alone"), ("train", "training"))
    ]
    body.append(
        [
            "of what both allow",
            *(f"{entry['of_allowed']:.2f}" if entry else NOT_MEASURED for entry in entries),
        ]
    )
    body.append(["bound by", *(entry["bound_by"] if entry else NOT_MEASURED for entry in entries)])
    return [
        *lines,
        "### Training on prepared images, images/s",
        "",
        *table(["", *DEVICES.values()], body),
        "",
    ]


def _answers(results: Results) -> list[str]:
    """Inference."""
    lines = ["## Inference: a ten-crop answer by batch size, milliseconds (quickest to p99)", ""]
    lines += _series_table(results, rows.latency_by_batch, "batch")
    return [*lines, *_each_device(results, "latency", "Milliseconds of an answer by batch size")]


def _serving(results: Results) -> list[str]:
    """The server."""
    lines = ["## Serving over HTTP", ""]
    head = ["requests at once", "answers/s", "p50 ms", "p99 ms", "bare model, same batches, /s", "failed"]
    for device, called in DEVICES.items():
        body = [
            [
                str(entry["concurrency"]),
                spread(entry, "requests_per_second"),
                count(entry["p50_ms"]),
                count(entry["p99_ms"]),
                spread(entry["compared"][0], "requests_per_second"),
                str(entry["failed"]),
            ]
            for entry in rows.served(results, device)
        ]
        lines += [f"{called}:", "", *table(head, body), ""] if body else [f"{called}: {NOT_MEASURED}.", ""]
    return lines


def _startup(results: Results) -> list[str]:
    """Cost by data set size."""
    body = [
        [f"{row['images']:,}", row["form"], count(row["without"]), count(row["with"]), count(row["mib"])]
        for row in rows.startup_rows(results)
    ]
    head = ["images", "form", "s, no cached list", "s, cached list", "MiB"]
    lines = ["## Cost against the size of the data set", "", *table(head, body), ""]
    return [*lines, *_plot(results, "startup", "Seconds and memory to the first batch by size")]


def _failures(results: Results) -> Sequence[str]:
    """Names the parts that failed."""
    failed = list(_failed(results))
    return ["## Not measured", "", *failed, ""] if failed else []


def _failed(results: Results) -> Iterator[str]:
    """Yields a line for each part that failed."""
    for device in DEVICES:
        for command, error in rows.not_measured(results, device):
            yield f"- `{command}`: {error}"
