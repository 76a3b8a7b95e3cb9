"""`alexnet-fast features`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.overwriting import ask_to_overwrite, force_option
from alexnet_fast.cli.part import part_options
from alexnet_fast.cli.path_roles import DATA, NETWORK, OUTPUT, PathOf
from alexnet_fast.inference.feature_names import FEATURE_FILES
from alexnet_fast.utils.progress import progress_bar

EXAMPLE = """\b
Examples:
  alexnet-fast features runs/first images out
  alexnet-fast features bvlc_alexnet.npy images out --split all --layer relu6 --parquet
"""


def _table(result: Result) -> str:
    lines = [
        f"features      {result['features']} ({result['images']} x {result['dimensions']}, float32)",
        f"files         {result['files']}",
    ]
    if result["parquet"]:
        lines.append(f"Parquet       {result['parquet']}")
    return "\n".join([*lines, f"layer         {result['layer']} of {result['model']}"])


@command(epilog=EXAMPLE)
@click.argument("model", type=PathOf(NETWORK))
@click.argument("data", type=PathOf(DATA))
@click.argument("out", type=PathOf(OUTPUT))
@click.option("--layer", help="Layer whose output is written.  [default: the input of the last layer]")
@click.option("--parquet", is_flag=True, help="Also write features.parquet; needs pyarrow.")
@force_option
@options.amp("off")
@part_options
@answers(_table)
def features(model: Path, data: Path, out: Path, *, force: bool, **arguments: Any) -> Result:
    """Write the output of a layer of MODEL for each image of DATA into the folder OUT.

    OUT gets features.npy, float32 (images, values), and files.csv with one line per row: file, label, index.
    MODEL is a run folder, a checkpoint or a file of weights; DATA may have classes that MODEL does not know.
    Features are computed on the centre crop of each image.
    """
    if out.is_dir():
        for name in FEATURE_FILES:
            ask_to_overwrite(out / name, force=force, instead="another folder OUT")
    from alexnet_fast.inference.feature_files import FeatureConfig, write_features

    dataset_format, excluded = options.dataset_format(arguments), options.excluded(arguments.pop("exclude"))
    rest = {name: value for name, value in arguments.items() if name not in options.FORMAT}
    config = FeatureConfig(
        model=model,
        data=data,
        out=out,
        overwrite=True,
        dataset_format=dataset_format,
        exclude=excluded,
        **rest,
    )
    with progress_bar(0, "computing features") as bar:

        def on_progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        return write_features(config, on_progress)
