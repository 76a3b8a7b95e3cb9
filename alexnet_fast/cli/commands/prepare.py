"""`alexnet-fast prepare`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import OUTPUT, SOURCE, PathOf
from alexnet_fast.cli.types import number
from alexnet_fast.utils.progress import progress_bar

EXAMPLE = """\b
Examples:
  alexnet-fast prepare images prepared
  alexnet-fast prepare photos.zip prepared --size 256 --center-crop --on-bad-image skip
  alexnet-fast prepare https://example.org/cats.zip prepared --sha256 0123…cdef
  alexnet-fast prepare 256_ObjectCategories prepared --dataset-format caltech256
  alexnet-fast prepare images prepared --part 3/8      (on each of 8 machines, 1/8 to 8/8, then)
  alexnet-fast prepare --join prepared
"""


def _table(result: Result) -> str:
    lines = [f"images      {result['images']} in {len(result['classes'])} classes"]
    if result["shards"]:
        lines.append(f"shards        {len(result['shards'])}")
    lines.append(f"skipped       {len(result['skipped'])}")
    lines += [f"ignored       {count}: {reason}" for reason, count in result["ignored"].items()]
    if result["mean"]:
        mean, stdev = result["mean"], result["pca"]["stdev"]
        lines.append(f"mean RGB      {mean[0]:.2f} {mean[1]:.2f} {mean[2]:.2f}  ({result['statistics_of']})")
        lines.append(f"PCA stdev     {stdev[0]:.2f} {stdev[1]:.2f} {stdev[2]:.2f}")
    lines.append(f"seconds       {result['seconds']:.1f}")
    lines.append(
        f"summary       {result['prepared']}"
        if result["prepared"]
        else "summary       after the last part: prepare --join OUT"
    )
    return "\n".join(lines)


@command(epilog=EXAMPLE)
@click.argument("source", metavar="SRC", type=PathOf(SOURCE, str), required=False)
@click.argument("output", metavar="OUT", type=PathOf(OUTPUT), required=False)
@options.format_options
@options.fetching
@number(
    "--val-fraction",
    help="Fraction of an undivided SRC to put into val/.  [default: none; caltech256: 0.2]",
)
@number("--size", default=256, show_default=True, help="Shorter side of the prepared images, in pixels.")
@click.option("--center-crop", is_flag=True, help="Keep the centre square only, as in the paper.")
@number("--quality", default=90, show_default=True, help="JPEG quality, 1 to 100.")
@click.option(
    "--encoding",
    type=click.Choice(["jpeg", "raw"]),
    default="jpeg",
    show_default=True,
    help="Write JPEGs, or uint8 arrays (H, W, 3) in .npy files.",
)
@options.background
@click.option(
    "--shards", is_flag=True, help="Write WebDataset tars with DALI's index files instead of class folders."
)
@number("--shard-size", default=256, show_default=True, metavar="MIB", help="Maximum size of a shard.")
@options.on_bad_image
@options.cpu_workers("Number of processes that decode and encode.")
@options.timeout_per_file("Seconds per image; one that takes longer is bad.")
@click.option("--part", metavar="I/N", help="Prepare part I of N; all parts may run at the same time.")
@click.option(
    "--join",
    "joined",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Write the summary of OUT after its last part.",
)
@answers(_table)
def prepare(joined: Path | None, **arguments: Any) -> Result:
    """Resize the images of SRC once, into the folder OUT.

    SRC is a folder of class folders (or of train/, val/ and test/ with class folders), a CSV with the columns
    file and class (and split, if it is divided), a .tar or .zip of class folders, WebDataset tars (also
    .gz, .bz2 or .xz, unpacked once into the user's cache folder), or a folder in a published layout: Tiny
    ImageNet, ILSVRC-2012, Caltech-256, loose files with JSON labels (--dataset-format; docs/data.md).
    SRC may also be the https address of an archive of any of these, which is downloaded once into the cache.

    Each image is turned upright, converted to RGB over --background, resized to the shorter side --size
    (smaller ones are enlarged) and stored as JPEG. A JPEG that already fits is copied.

    Start an interrupted run again to resume it. At the end OUT/prepared.json holds options, classes, counts,
    mean and PCA terms of the training images, and a fingerprint.
    """
    from alexnet_fast.prepare.job import join

    start = time.monotonic()
    if joined is not None:
        if arguments["source"] is not None:
            raise click.UsageError("--join takes the folder OUT alone.")
        summary = join(joined)
    else:
        summary = _run(arguments)
    return {**summary, "seconds": round(time.monotonic() - start, 3), "part": arguments["part"]}


def _run(arguments: dict[str, Any]) -> Result:
    """Runs `prepare` with the command line's options."""
    from alexnet_fast.prepare.job import Preparation, PrepareConfig
    from alexnet_fast.prepare.partition import Partition
    from alexnet_fast.prepare.transform import ResizeConfig

    for argument, name in (("source", "SRC"), ("output", "OUT")):
        if arguments[argument] is None:
            raise click.UsageError(f"Missing argument '{name}'.")
    dataset_format = options.dataset_format(arguments)
    if dataset_format.kind == "caltech256":
        # Its published preprocessor keeps centre squares, and a fifth for validation.
        fraction = 0.2 if arguments["val_fraction"] is None else arguments["val_fraction"]
        arguments |= {"center_crop": True, "val_fraction": fraction}
    recipe = ResizeConfig(
        **{key: arguments[key] for key in ("size", "center_crop", "quality", "encoding", "background")}
    )
    partition = Partition.parse(arguments["part"]) if arguments["part"] else Partition()
    arguments["source"] = options.local_source(arguments)
    rest = {
        key: arguments[key]
        for key in ("source", "output", "workers", "seconds", "on_bad_image", "val_fraction")
    }
    rest["shard_mib"] = arguments["shard_size"] if arguments["shards"] else None
    rest["most_unpacked"] = int(arguments["max_download"] * 2**30)
    preparation = Preparation(
        PrepareConfig(recipe=recipe, dataset_format=dataset_format, partition=partition, **rest)
    )
    with progress_bar(len(preparation), "preparing") as bar:
        return preparation.run(lambda: bar.update(1))
