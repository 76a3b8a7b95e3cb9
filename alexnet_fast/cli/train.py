"""`alexnet-fast train`."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli import options, train_options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.config_file import merge, read_options
from alexnet_fast.cli.progress import EpochLine
from alexnet_fast.recipe import RECIPES, recipe_path

EXAMPLE = """\b
Examples:
  alexnet-fast train pictures --dali --epochs 20 --run runs/first
  alexnet-fast train pictures --run runs/first --resume
  alexnet-fast train pictures --recipe modern --epochs 30
  alexnet-fast train pictures --model my_nets:Small --crop 128 --resize 144
  alexnet-fast train --config runs/first/config.toml --run runs/second --lr 0.005
"""


def _table(result: Result) -> str:
    best = result["best"]
    return (
        f"run           {result['run']}\n"
        f"epochs        {result['epochs']} ({result['steps']} steps"
        + (f", resumed after epoch {result['resumed_from']}" if result["resumed_from"] is not None else "")
        + ")\n"
        f"best epoch    {best['epoch']}: top-1 {best['top1']:.4f}, top-5 {best['top5']:.4f} (one crop)\n"
        f"speed         {result['images_per_second']:.0f} images/s (median epoch, {result['device']},"
        f" {result['precision']})\nbad pictures  {result['bad_images']}"
    )


@click.command(epilog=EXAMPLE)
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option(
    "--run", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/MODEL-DATE-TIME]"
)
@click.option("--resume", is_flag=True, help="Go on with the run in --run; start it where there is none.")
@click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file of options; the command line wins."
)
@click.option(
    "--recipe", metavar="NAME|FILE", help=f"Options by name: {', '.join(RECIPES)}; the config wins."
)
@click.option(
    "--model", default="alexnet", show_default=True, help="Network, by name; or your own: package.module:Net."
)
@click.option("--epochs", type=int, default=90, show_default=True, help="Most epochs; it may stop earlier.")
@click.option("--batch-size", type=int, default=128, show_default=True, help="Pictures a step.")
@train_options.optimiser
@train_options.schedule
@train_options.regularisation
@click.option(
    "--bn-batches",
    type=int,
    default=32,
    show_default=True,
    help="Batches that batch norm is measured on after each epoch; 0 keeps the running averages.",
)
@click.option("--resize", type=int, help="Shorter side of the pictures in pixels.  [default: the model's]")
@click.option("--crop", type=int, help="Input side of the network in pixels.  [default: the model's]")
@click.option(
    "--pca",
    type=click.Choice(["original", "lighting", "data", "off"]),
    default="original",
    show_default=True,
    help="Constants of the colour jitter; 'data' measures the training pictures.",
)
@click.option(
    "--mean",
    type=click.Choice(["imagenet", "data"]),
    default="imagenet",
    show_default=True,
    help="Colour that is subtracted.",
)
@click.option(
    "--val-fraction",
    type=float,
    default=0.1,
    show_default=True,
    help="Validation share where there is no val/.",
)
@options.dali
@options.device
@options.amp("auto")
@options.threads
@train_options.speed
@options.on_bad_image
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order and augmentation.")
@click.option("--log-every", type=int, default=20, show_default=True, help="Steps between two readings.")
@click.pass_context
@answers(_table)
def train(ctx: click.Context, **given: Any) -> Result:
    """Train a network on DATA.

    DATA holds train/ and val/ (and test/), each with one folder of pictures a class; or the class folders
    themselves, of which --val-fraction is kept for validation.
    """
    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.job import run_training

    resume, config_path, recipe = (given.pop(name) for name in ("resume", "config", "recipe"))
    files = [read_options(config_path, ctx)] if config_path else []
    if recipe:
        files.append(read_options(recipe_path(recipe), ctx, named=f"--recipe {recipe}"))
    settled = merge(ctx, given, *files)
    if resume and settled["run"] and (settled["run"] / "config.toml").exists():
        settled = merge(ctx, given, *files, read_options(settled["run"] / "config.toml", ctx))
    if settled["data"] is None:
        raise click.UsageError("Missing argument 'DATA': the folder of pictures.")
    settled["run"] = settled["run"] or _new_run(settled["model"])
    line = EpochLine()
    try:
        return run_training(TrainConfig(**settled), resume=resume, show=line)
    except KeyboardInterrupt:
        click.echo(f"\ngo on with: alexnet-fast train --run {settled['run']} --resume", err=True)
        raise
    finally:
        line.close()


def _new_run(model: str) -> Path:
    """Returns a folder named after the model and the moment."""
    return Path("runs") / f"{model}-{datetime.datetime.now().astimezone():%Y%m%d-%H%M%S}"
