"""`alexnet-fast train`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from alexnet_fast.cli import options, train_options
from alexnet_fast.cli.command import Result, answers, say
from alexnet_fast.cli.config_file import given_options, merge, read_options
from alexnet_fast.cli.path_roles import TRAINING_DATA, PathOf
from alexnet_fast.cli.types import choice, number
from alexnet_fast.errors import UserError
from alexnet_fast.recipes import RECIPES, recipe_path
from alexnet_fast.training.console import EpochLine

if TYPE_CHECKING:
    from alexnet_fast.training.config import TrainConfig

# Declared in `training.config`, which imports too much for --help; a test compares.
MAY_CHANGE = (
    "--amp, --bn-batches, --compile, --cuda-graphs, --dali, --dropout, --drops, --epochs, --factor,"
    " --hw-decoder-load, --label-smoothing, --loss, --lr, --max-steps, --mixup, --momentum, --nesterov,"
    " --patience, --schedule, --step-epochs, --unfreeze-lr, --warmup-epochs, --weight-decay"
)

EXAMPLE = f"""With --resume these options may change, and the run records it: {MAY_CHANGE}. So may those that
change nothing in the weights, such as --threads. Others are refused.

\b
Examples:
  alexnet-fast train images --dali --epochs 20 --run runs/first
  alexnet-fast train images --run runs/first --resume
  alexnet-fast train images --recipe modern --epochs 30
  alexnet-fast train images --model my_nets:Small --crop 128 --resize 144
  alexnet-fast train images --model alexnet-owt --weights alexnet.pth --transfer --epochs 10
  alexnet-fast train --config runs/first/config.toml --run runs/second --lr 0.005
"""

# What --from-scratch takes back.
_ON_WEIGHTS = ("weights", "transfer", "features")


def _table(result: Result) -> str:
    best = result["best"]
    speed = result["images_per_second"]
    return (
        f"run           {result['run']}\n"
        f"epochs        {result['epochs']} ({result['steps']} steps"
        + (f", resumed after epoch {result['resumed_from']}" if result["resumed_from"] is not None else "")
        + ")\n"
        + (f"stopped by    {result['stopped']}; --resume goes on\n" if result["stopped"] else "")
        + (
            f"best epoch    {best['epoch']}: top-1 {best['top1']:.4f}, top-5 {best['top5']:.4f} (one crop)\n"
            f"speed         {speed:.0f} images/s (median epoch, {result['device']}, {result['precision']})\n"
            if best
            else ""
        )
        + f"bad images  {result['bad_images']}"
    )


@click.command(epilog=EXAMPLE)
@click.argument("data", type=PathOf(TRAINING_DATA), required=False)
@click.option(
    "--run", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/MODEL-DATE-TIME]"
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run in --run; start it where there is none. Some options may change: see below.",
)
@click.option(
    "--redo-epoch",
    is_flag=True,
    help="With --resume and another number of processes than stopped within an epoch: go back to its start.",
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="TOML file of options; the command line wins."
)
@click.option(
    "--recipe", metavar="NAME|FILE", help=f"Options by name: {', '.join(RECIPES)}; the config wins."
)
@click.option(
    "--model",
    default="alexnet",
    show_default=True,
    help="Network, by name (convnet-32, -64, -96 for small images); or your own: package.module:Net.",
)
@train_options.beginning
@number(
    "--max-steps",
    help="Most optimiser steps; the run ends with them or with --epochs, if that is first.",
)
@number("--epochs", default=90, show_default=True, help="Most epochs; it may stop earlier.")
@number(
    "--batch-size",
    default=128,
    show_default=True,
    help="Images a step, over all processes and passes; the default shrinks to fit a small data set.",
)
@number(
    "--accumulate",
    default=1,
    show_default=True,
    help="Backward passes a step; each takes its part of the batch.",
)
@train_options.optimiser
@train_options.schedule
@train_options.regularisation
@number(
    "--bn-batches",
    default=32,
    show_default=True,
    help="Batches that batch norm is measured on after each epoch; 0 keeps the running averages.",
)
@number("--resize", help="Shorter side of the images in pixels.  [default: the model's]")
@number("--crop", help="Input side of the network in pixels.  [default: the model's]")
@choice(
    "--pca",
    default="original",
    show_default=True,
    help="Constants of the colour jitter; 'data' measures the training images.",
)
@choice(
    "--mean",
    default="imagenet",
    show_default=True,
    help="Colour that is subtracted.",
)
@options.background
@options.augmentation
@number(
    "--val-fraction",
    default=0.1,
    show_default=True,
    help="Validation share where there is no val/.",
)
@options.dali
@options.device
@options.amp("auto")
@options.threads
@options.hw_decoder_load
@train_options.speed
@options.on_bad_image
@options.leave_out
@options.layout
@number("--seed", default=0, show_default=True, help="Of weights, order and augmentation.")
@number(
    "--checkpoint-steps",
    default=0,
    show_default=True,
    help="Steps between two checkpoints; each epoch ends with one anyway.",
)
@number(
    "--checkpoint-minutes",
    default=10.0,
    show_default=True,
    help="Minutes between two checkpoints; 0 for none within an epoch.",
)
@number(
    "--keep",
    default=2,
    show_default=True,
    help="Last checkpoints that stay, besides the best and that of the last epoch's end.",
)
@number("--gpus", help="Train on so many GPUs of this machine, one process each.")
@number("--processes", default=1, show_default=True, help="Train on the CPU in so many processes.")
@number("--log-every", default=20, show_default=True, help="Steps between two readings.")
@click.pass_context
@answers(_table)
def train(ctx: click.Context, **given: Any) -> Result:
    """Train a network on DATA.

    DATA holds train/ and val/ (and test/), each with one folder of images a class; or the class folders
    themselves, of which --val-fraction is kept for validation. Instead of class folders there may be what
    `prepare` writes in any of its forms, and WebDataset tars of KEY.jpg and KEY.cls (or KEY.json).
    """
    from alexnet_fast.training.adapting import adapt_recipe
    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.run_dir import new_run

    resume, redo_epoch = given.pop("resume"), given.pop("redo_epoch")
    config_path, recipe = given.pop("config"), given.pop("recipe")
    files = [read_options(config_path, ctx)] if config_path else []
    proposed = {}
    if recipe:
        options_of_it = read_options(recipe_path(recipe), ctx, named=f"--recipe {recipe}")
        files.append(options_of_it)
        # What a recipe of ours says is a proposal; the user's own file is the user's word.
        proposed = options_of_it if recipe in RECIPES else {}
    settled = merge(ctx, given, *files)
    if resume and settled["run"] and (settled["run"] / "config.toml").exists():
        files.append(read_options(settled["run"] / "config.toml", ctx))
        settled = merge(ctx, given, *files)
    said = given_options(ctx, *(file for file in files if file is not proposed))
    if settled["data"] is None:
        raise click.UsageError("Missing argument 'DATA': the folder of images.")
    if settled.pop("from_scratch"):
        if any(ctx.get_parameter_source(n) is ParameterSource.COMMANDLINE for n in _ON_WEIGHTS):
            raise click.UsageError(
                "--from-scratch takes no weights: leave out --weights, --transfer and --features."
            )
        settled.update(weights=None, transfer=False, features=False)
    settled, lines = adapt_recipe(settled, proposed, said)
    for line in lines:
        say(line)
    settled["run"] = settled["run"] or new_run(settled["model"])
    config = _on_devices(TrainConfig(**settled))
    adaptable = () if "batch_size" in said else ("batch_size",)
    result = _run(config, resume=resume, redo_epoch=redo_epoch, adaptable=adaptable)
    if os.environ.get("RANK", "0") != "0":
        # The first process of the job prints the result for all.
        ctx.exit(0)
    return result


def _run(config: TrainConfig, **how: Any) -> Result:
    """Trains here, or in processes that are started for it."""
    from alexnet_fast.training import run
    from alexnet_fast.training.distributed.group import launched
    from alexnet_fast.training.distributed.launcher import train_in_processes

    processes = config.gpus or config.processes
    line = EpochLine()
    try:
        if processes > 1 and not launched():
            return train_in_processes(config, processes, **how)
        return run.train(config, **how, on_progress=line)
    except KeyboardInterrupt:
        if (config.run / "config.toml").exists():
            say(f"go on with: alexnet-fast train --run {config.run} --resume")
        raise
    finally:
        line.close()


def _on_devices(config: TrainConfig) -> TrainConfig:
    """Settles the device of a job: --gpus means GPUs, --processes means the CPU.

    Raises:
        UserError: The options contradict each other, or there are not so many GPUs.
    """
    import torch

    if config.gpus and config.processes > 1:
        raise click.UsageError("--gpus and --processes are two ways to say how many processes: give one.")
    wanted = "cuda" if config.gpus else "cpu" if config.processes > 1 else config.device
    if wanted != config.device != "auto":
        option = "--gpus" if config.gpus else "--processes"
        raise click.UsageError(f"{option} trains on {wanted}, and --device says {config.device}: give one.")
    if config.gpus and config.gpus > torch.cuda.device_count():
        raise UserError(
            f"--gpus {config.gpus}: PyTorch finds {torch.cuda.device_count()} GPUs",
            "give fewer, or --processes on the CPU; see alexnet-fast doctor",
            exit_code=2,
        )
    return dataclasses.replace(config, device=wanted)
