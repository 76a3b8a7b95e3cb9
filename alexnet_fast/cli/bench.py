"""`alexnet-fast bench`: measurements, ours and the peer's in turns in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.bench_training import bench_compute, bench_train
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.progress import progress_bar

EXAMPLE = """\b
Examples:
  alexnet-fast bench input pictures
  alexnet-fast bench input pictures --threads 4 --batch-size 128 --runs 9 --json
"""


@click.group()
def bench() -> None:
    """Measure, with the peer in the same run."""


bench.add_command(bench_compute)
bench.add_command(bench_train)

_UNIT = "images_per_second"


def _table(result: Result) -> str:
    from alexnet_fast.bench.report import figure_line, machine_line

    lines = [
        f"{machine_line(result)}; {result['threads']} threads, batches of {result['batch_size']},"
        f" {result['images']} pictures, median of {result['runs']} turns",
        figure_line(result, "DALI", _UNIT, "DALI"),
    ]
    lines += [figure_line(other, other["name"], _UNIT, "DALI") for other in result["compared"]]
    lines.append("a picture costs, in microseconds of the machine:")
    lines += [f"  {part:20s} {cost:8.0f}" for part, cost in result["microseconds_per_image"].items()]
    return "\n".join(lines)


@bench.command("input", epilog=EXAMPLE)
@click.argument("data", type=click.Path(path_type=Path))
@options.threads
@click.option("--batch-size", type=int, default=32, show_default=True, help="Pictures a batch.")
@click.option("--resize", type=int, default=256, show_default=True, help="Shorter side of the pictures.")
@click.option("--crop", type=int, default=224, show_default=True, help="Input side of the network.")
@options.device
@click.option("--runs", type=int, default=5, show_default=True, help="Epochs of each contestant.")
@answers(_table)
def bench_input(data: Path, **given: Any) -> Result:
    """How fast the training pictures of DATA are loaded, and which part costs what.

    DALI with the training augmentation, against Pillow in a torch DataLoader with the same augmentation and
    as many workers, and against DALI decoding the whole pictures and nothing else. Every contestant loads the
    same epochs, in turns. A part's cost is the time that it adds to the parts before it.
    """
    from alexnet_fast.bench import report
    from alexnet_fast.bench.input import InputBench, measure_input
    from alexnet_fast.data import open_data
    from alexnet_fast.device import choose_device
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.spec import AugmentSpec

    contest = InputBench(
        pictures=open_data(data).train,
        spec=AugmentSpec(resize=given["resize"], crop=given["crop"]),
        config=LoaderConfig(device=choose_device(given["device"]), threads=given["threads"]),
        batch_size=given["batch_size"],
        runs=given["runs"],
    )
    with progress_bar(6 * (given["runs"] + 1), "loading") as bar:
        result = measure_input(contest, show=lambda: bar.update(1))
    return {**result, **report.machine()}
