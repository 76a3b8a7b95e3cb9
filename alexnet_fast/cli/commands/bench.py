"""`alexnet-fast bench`: benchmarks that measure the baselines in the same run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result
from alexnet_fast.cli.commands.bench_infer import bench_infer
from alexnet_fast.cli.commands.bench_serving import bench_serve
from alexnet_fast.cli.commands.bench_training import bench_compute, bench_train
from alexnet_fast.cli.commands.benchmark import benchmark, runs, turn_runs, turn_seconds
from alexnet_fast.cli.help_page import HelpGroup
from alexnet_fast.cli.path_roles import DATA, PathOf
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError
from alexnet_fast.utils.progress import progress_bar

if TYPE_CHECKING:
    from alexnet_fast.data import ImageList, ShardFields

INPUT_EXAMPLE = """\b
Examples:
  alexnet-fast bench input images
  alexnet-fast bench input images --workers 4 --batch-size 128 --runs 9 --json
  alexnet-fast bench input prepared --compare raw --compare shards
  alexnet-fast bench input images --baselines benchmarks/baselines    (after: make baselines)
"""

STARTUP_EXAMPLE = """\b
Example:
  alexnet-fast bench startup images --runs 5
"""


@click.group(cls=HelpGroup)
def bench() -> None:
    """Measure speed, with the baselines in the same run."""


for each in (bench_compute, bench_train, bench_serve, bench_infer):
    bench.add_command(each)


def _input_table(result: Result) -> str:
    from alexnet_fast.bench.input import NAMES
    from alexnet_fast.bench.report import IMAGES_PER_SECOND, figure_lines, machine_line

    lines = [
        f"{machine_line(result)}; {result['workers']} workers, batches of {result['batch_size']},"
        f" {result['images']} images, median of {result['runs']} turns",
        *figure_lines(result, IMAGES_PER_SECOND, NAMES[result["loader"]]),
    ]
    lines += [f"not run: {name}: {reason}" for name, reason in result["not_run"].items()]
    if costs := result["microseconds_per_image"]:
        lines.append("cost of an image in DALI, in microseconds of the machine:")
        lines += [f"  {part:20s} {cost:8.0f}" for part, cost in costs.items()]
    return "\n".join(lines)


@bench.command("input", epilog=INPUT_EXAMPLE)
@click.argument("data", type=PathOf(DATA))
@click.option(
    "--loader",
    "kind",
    type=click.Choice(["dali", "torch"]),
    default="dali",
    show_default=True,
    help="Our loader that the others are compared with.",
)
@options.workers
@number("--batch-size", default=128, show_default=True, help="Images per batch.")
@number("--resize", default=256, show_default=True, help="Shorter side of the images.")
@number("--crop", default=224, show_default=True, help="Input side of the network.")
@options.device
@turn_runs
@turn_seconds(3.0)
@click.option(
    "--baselines", type=click.Path(path_type=Path), help="Folder of other projects' loaders, *_baseline.py."
)
@click.option(
    "--compare",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The same images in another format (raw arrays, shards) to load in turns too; may be repeated.",
)
@options.exclude
@options.shard_fields
@benchmark(_input_table)
def bench_input(data: Path, **given: Any) -> Result:
    """Measure how fast training images load.

    The candidates are DALI with the training augmentation; Pillow in a torch DataLoader with the same
    augmentation and number of workers; DALI that only decodes whole images; and the baselines, in their own
    environment. They take turns; the clock starts once a loader's batches flow. The cost of a stage is the
    time that it adds to the stages before it.
    """
    from alexnet_fast.bench.input import InputBench, measure_input
    from alexnet_fast.bench.run_baselines import BaselineError
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.utils.device import choose_device

    fields = options.fields(given)
    config = InputBench(
        image_list=_images(data, given["exclude"], fields),
        spec=AugmentSpec(resize=given["resize"], crop=given["crop"]),
        config=LoaderConfig(
            kind=given["kind"], device=choose_device(given["device"]), workers=given["workers"]
        ),
        batch_size=given["batch_size"],
        runs=given["runs"],
        seconds=given["seconds"],
        baselines=given["baselines"],
        compare={str(other): _images(other, None, fields) for other in given["compare"]},
    )
    with progress_bar(0, "loading") as bar:
        try:
            return measure_input(config, bar.show)
        except BaselineError as error:
            raise UserError(f"a baseline ended during its turn: {error}", "leave --baselines out") from error


def _images(data: Path, excluded: Path | None, fields: ShardFields) -> ImageList:
    """Lists the training images of a folder, or all of them if it has no train/."""
    from alexnet_fast.data.image_folder import class_dirs
    from alexnet_fast.data.split_names import named_splits
    from alexnet_fast.pipelines.image_dataset import list_data

    directory = next(iter(named_splits(class_dirs(data)).get("train", [])), "")
    images = list_data(data / directory, fields=fields)
    exclude, prefix = options.excluded(excluded), f"{directory}/" if directory else ""
    return images if exclude is None else exclude.apply(data, {prefix: images})[prefix]


def _startup_table(result: Result) -> str:
    from alexnet_fast.bench.report import machine_line

    lines = [
        f"{machine_line(result)}; {result['images']} training images, first batch of"
        f" {result['batch_size']}, median of {result['runs']} processes in turns"
    ]
    for row in (*result["compared"], result):
        parts = ", ".join(f"{part} {seconds:.2f}" for part, seconds in row["parts"].items())
        lines.append(f"{row['name']:22s} {row['seconds']:6.2f} s, {row['peak_mib']:5.0f} MiB  ({parts})")
    return "\n".join(lines)


@bench.command("startup", epilog=STARTUP_EXAMPLE)
@click.argument("data", type=PathOf(DATA))
@options.workers
@number("--batch-size", default=128, show_default=True, help="Images in the first batch.")
@runs(3, "Processes with a cached list of the images, and as many without.")
@options.shard_fields
@benchmark(_startup_table)
def bench_startup(data: Path, **given: Any) -> Result:
    """Measure the time to the first batch.

    Time and memory count from the start of a process to its first training batch of DATA. Processes with and
    without a cached list of the images take turns. Lists of 10,000 images or more are cached in the user's
    cache folder; this command uses a folder of its own.
    """
    from alexnet_fast.bench.startup import StartupBench, measure_startup
    from alexnet_fast.data import DatasetFormat
    from alexnet_fast.data.find_splits import find_splits

    find_splits(data, dataset_format=DatasetFormat(fields=options.fields(given)))
    with progress_bar(0, "starting") as bar:
        return measure_startup(StartupBench(data=data, **given), bar.show)
