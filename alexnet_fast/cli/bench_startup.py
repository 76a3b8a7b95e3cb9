"""`alexnet-fast bench startup`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import DATA, PathOf
from alexnet_fast.cli.types import number
from alexnet_fast.utils.progress import progress_bar

EXAMPLE = """\b
Example:
  alexnet-fast bench startup images --runs 5
"""


def _table(result: Result) -> str:
    cpu = result["hardware"]["cpu"]
    lines = [
        f"{cpu['name']}, {cpu['cores']} cores; {result['images']} training images, first batch of"
        f" {result['batch_size']}, median of {result['runs']} processes in turns"
    ]
    for other in result["compared"]:
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in other["parts"].items())
        lines.append(
            f"{other['name']:20s} {other['seconds']:6.2f} s, {other['peak_mib']:5.0f} MiB  ({parts})"
        )
    return "\n".join(lines)


@command("startup", epilog=EXAMPLE)
@click.argument("data", type=PathOf(DATA))
@options.workers
@number("--batch-size", default=128, show_default=True, help="Images of the batch.")
@number("--runs", default=3, show_default=True, help="Processes of each kind.")
@options.shard_fields
@answers(_table)
def bench_startup(data: Path, **given: Any) -> Result:
    """Seconds and memory from the start of a process to the first training batch of DATA.

    Without a kept list of the images, and with one, in turns. Lists of 10,000 images or more are kept in
    the user's cache folder; this command uses a folder of its own.
    """
    from alexnet_fast.bench import report
    from alexnet_fast.bench.startup import StartupBench, measure_startup
    from alexnet_fast.data import DatasetFormat
    from alexnet_fast.data.find_splits import find_splits

    find_splits(data, dataset_format=DatasetFormat(fields=options.fields(given)))
    with progress_bar(2 * given["runs"], "starting") as bar:
        result = measure_startup(StartupBench(data=data, **given), on_progress=lambda: bar.update(1))
    return {**result, **report.machine()}
