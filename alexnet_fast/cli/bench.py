"""`alexnet-fast bench`: measurements, ours and the baseline's in turns in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.bench_infer import bench_infer
from alexnet_fast.cli.bench_serving import bench_serve
from alexnet_fast.cli.bench_startup import bench_startup
from alexnet_fast.cli.bench_training import bench_compute, bench_train
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import HelpGroup
from alexnet_fast.cli.path_roles import DATA, PathOf
from alexnet_fast.cli.types import number
from alexnet_fast.utils.progress import progress_bar

if TYPE_CHECKING:
    from alexnet_fast.data import ImageList, ShardFields

EXAMPLE = """\b
Examples:
  alexnet-fast bench input images
  alexnet-fast bench input images --workers 4 --batch-size 128 --runs 9 --json
  alexnet-fast bench input prepared --compare raw --compare shards
  alexnet-fast bench input images --baselines benchmarks/baselines    (after: make baselines)
"""


@click.group(cls=HelpGroup)
def bench() -> None:
    """Measure, with the baseline in the same run."""


bench.add_command(bench_compute)
bench.add_command(bench_train)
bench.add_command(bench_startup)
bench.add_command(bench_serve)
bench.add_command(bench_infer)


def _table(result: Result) -> str:
    from alexnet_fast.bench.input import NAMES, UNIT
    from alexnet_fast.bench.report import figure_line, machine_line

    ours = NAMES[result["loader"]]
    lines = [
        f"{machine_line(result)}; {result['workers']} workers, batches of {result['batch_size']},"
        f" {result['images']} images, median of {result['runs']} turns",
        figure_line(result, ours, UNIT, ours),
    ]
    lines += [figure_line(other, other["name"], UNIT, ours) for other in result["compared"]]
    lines += [f"not run: {name}: {reason}" for name, reason in result["not_run"].items()]
    if costs := result["microseconds_per_image"]:
        lines.append("an image costs DALI, in microseconds of the machine:")
        lines += [f"  {part:20s} {cost:8.0f}" for part, cost in costs.items()]
    return "\n".join(lines)


@bench.command("input", epilog=EXAMPLE)
@click.argument("data", type=PathOf(DATA))
@click.option(
    "--loader",
    "kind",
    type=click.Choice(["dali", "torch"]),
    default="dali",
    show_default=True,
    help="Which of our loaders the others are compared with.",
)
@options.workers
@number("--batch-size", default=128, show_default=True, help="Images a batch.")
@number("--resize", default=256, show_default=True, help="Shorter side of the images.")
@number("--crop", default=224, show_default=True, help="Input side of the network.")
@options.device
@number("--runs", default=5, show_default=True, help="Turns of each candidate.")
@number("--seconds", default=3.0, show_default=True, help="Length of a turn.")
@click.option(
    "--baselines", type=click.Path(path_type=Path), help="Folder of other projects' loaders, *_baseline.py."
)
@click.option(
    "--compare",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The same images in another form (raw arrays, shards), loaded in turns too.",
)
@options.exclude
@options.shard_fields
@answers(_table)
def bench_input(data: Path, **given: Any) -> Result:
    """How fast the training images of DATA are loaded, and which part costs what.

    DALI with the training augmentation; Pillow in a torch DataLoader with the same augmentation and as many
    workers; DALI decoding whole images and nothing else; and the baselines, in their own environment.
    All take turns, each measured once it flows. A part's cost is what it adds to the time of those before it.
    """
    from alexnet_fast.bench import report
    from alexnet_fast.bench.baseline import BaselineError
    from alexnet_fast.bench.input import InputBench, measure_input
    from alexnet_fast.errors import UserError
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.utils.device import choose_device

    fields = options.fields(given)
    contest = InputBench(
        images=_images(data, given["exclude"], fields),
        spec=AugmentSpec(resize=given["resize"], crop=given["crop"]),
        config=LoaderConfig(
            kind=given["kind"], device=choose_device(given["device"]), workers=given["workers"]
        ),
        batch_size=given["batch_size"],
        runs=given["runs"],
        seconds=given["seconds"],
        baselines=given["baselines"],
        compare={str(form): _images(form, None, fields) for form in given["compare"]},
    )
    with progress_bar(0, "loading") as bar:

        def begin(turns: int) -> None:
            bar.length = turns

        try:
            result = measure_input(contest, begin, on_progress=lambda: bar.update(1))
        except BaselineError as error:
            raise UserError(f"a baseline ended in its turn: {error}", "leave --baselines out") from error
    return {**result, **report.machine()}


def _images(data: Path, excluded: Path | None, fields: ShardFields) -> ImageList:
    """Lists the training images of a folder, or all where it has no train/."""
    from alexnet_fast.data.image_folder import class_dirs
    from alexnet_fast.data.split_names import named_splits
    from alexnet_fast.pipelines.image_dataset import list_data

    directory = next(iter(named_splits(class_dirs(data)).get("train", [])), "")
    images = list_data(data / directory, fields=fields)
    some, prefix = options.excluded(excluded), f"{directory}/" if directory else ""
    return images if some is None else some.apply(data, {prefix: images})[prefix]
