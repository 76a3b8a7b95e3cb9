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
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import TRAINING_DATA, PathOf
from alexnet_fast.cli.train_options import changeable
from alexnet_fast.cli.types import GroupedOption
from alexnet_fast.errors import UserError
from alexnet_fast.recipes import RECIPES, recipe_path
from alexnet_fast.training.console import EpochLine
from alexnet_fast.training.option import CHECKPOINTS, MODEL

if TYPE_CHECKING:
    from alexnet_fast.training.config import TrainConfig

EXAMPLE = """\b
Examples:
  alexnet-fast train images --epochs 20 --run runs/first
  alexnet-fast train images --run runs/first --resume
  alexnet-fast train images --recipe modern --epochs 30
  alexnet-fast train images --model alexnet-owt --weights alexnet.pth --finetune
  alexnet-fast train --config runs/first/config.toml --run runs/second
"""
RESUME = f"""With --resume these options may change, and the run records it: {changeable()}. Options that do
not affect the weights, such as --workers, may change too. All others are refused."""

# Options that --from-scratch overrides.
_ON_WEIGHTS = ("weights", "finetune", "linear_probe")


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


@command(epilog=EXAMPLE, more=RESUME)
@click.argument("data", type=PathOf(TRAINING_DATA), required=False)
@click.option(
    "--run",
    type=click.Path(path_type=Path),
    cls=GroupedOption,
    group=CHECKPOINTS,
    help="Directory of the run.  [default: runs/MODEL-DATE-TIME]",
)
@click.option(
    "--resume",
    is_flag=True,
    cls=GroupedOption,
    group=CHECKPOINTS,
    help="Resume the run in --run, mid-epoch; start it if there is none.",
)
@click.option(
    "--redo-epoch",
    is_flag=True,
    cls=GroupedOption,
    group=CHECKPOINTS,
    common=False,
    help="With --resume and another number of processes: go back to the start of the epoch.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    cls=GroupedOption,
    group=MODEL,
    help="TOML file of options; the command line wins.",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    cls=GroupedOption,
    group=MODEL,
    help=f"Preset of options: {', '.join(RECIPES)}; --config wins.",
)
@click.option(
    "--from-scratch",
    is_flag=True,
    cls=GroupedOption,
    group=MODEL,
    common=False,
    help="Start from random weights (the default), whatever a config says.",
)
@options.augmentation_file
@train_options.train_options("data", "run")
@click.pass_context
@answers(_table)
def train(ctx: click.Context, **arguments: Any) -> Result:
    """Train a network on DATA.

    DATA is a directory of class folders, or of train/ and val/ (and test/) with class folders; what
    `prepare` writes; or WebDataset tars of KEY.jpg and KEY.cls. docs/data.md lists every format.
    """
    from alexnet_fast.training.adapt_defaults import adapt_recipe
    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.run_dir import new_run

    resume, redo_epoch = arguments.pop("resume"), arguments.pop("redo_epoch")
    config_path, recipe = arguments.pop("config"), arguments.pop("recipe")
    files = [read_options(config_path, ctx)] if config_path else []
    proposed = {}
    if recipe:
        recipe_file = read_options(recipe_path(recipe), ctx, named=f"--recipe {recipe}")
        files.append(recipe_file)
        # A built-in recipe adapts to the other options; the user's own file does not.
        proposed = recipe_file if recipe in RECIPES else {}
    values = merge(ctx, arguments, *files)
    if resume and values["run"] and (values["run"] / "config.toml").exists():
        files.append(read_options(values["run"] / "config.toml", ctx))
        values = merge(ctx, arguments, *files)
    given = given_options(ctx, *(file for file in files if file is not proposed))
    if values["data"] is None:
        raise click.UsageError("Missing argument 'DATA': the folder of images.")
    if values.pop("from_scratch"):
        _remove_weights(ctx, values)
    values, lines = adapt_recipe(values, proposed, given)
    for line in lines:
        say(line)
    values["run"] = values["run"] or new_run(values["model"])
    config = _with_device(TrainConfig(**values))
    adaptable = () if "batch_size" in given else ("batch_size",)
    result = _run(config, resume=resume, redo_epoch=redo_epoch, adaptable=adaptable)
    if os.environ.get("RANK", "0") != "0":
        # Rank 0 prints the result.
        ctx.exit(0)
    return result


def _remove_weights(ctx: click.Context, values: dict[str, Any]) -> None:
    """Removes the initial weights of a config.

    Raises:
        UsageError: The command line gives weights, too.
    """
    if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in _ON_WEIGHTS):
        raise click.UsageError(
            "--from-scratch takes no weights: leave out --weights, --finetune and --linear-probe."
        )
    values.update(weights=None, finetune=False, linear_probe=False)


def _run(config: TrainConfig, **arguments: Any) -> Result:
    """Trains in this process, or in `config.gpus` or `config.processes` new ones."""
    from alexnet_fast.training import run
    from alexnet_fast.training.distributed.group import launched
    from alexnet_fast.training.distributed.launcher import train_in_processes

    processes = config.gpus or config.processes
    line = EpochLine()
    try:
        if processes > 1 and not launched():
            return train_in_processes(config, processes, **arguments)
        return run.train(config, **arguments, on_progress=line)
    except KeyboardInterrupt:
        if (config.run / "config.toml").exists():
            say(f"go on with: alexnet-fast train --run {config.run} --resume")
        raise
    finally:
        line.close()


def _with_device(config: TrainConfig) -> TrainConfig:
    """Resolves the device of a job: --gpus selects GPUs, --processes the CPU.

    Raises:
        UserError: The options contradict each other, or there are fewer GPUs.
    """
    import torch

    if config.gpus and config.processes > 1:
        raise click.UsageError("--gpus and --processes exclude each other: give one.")
    device = "cuda" if config.gpus else "cpu" if config.processes > 1 else config.device
    if device != config.device != "auto":
        option = "--gpus" if config.gpus else "--processes"
        raise click.UsageError(f"{option} trains on {device}, and --device says {config.device}: give one.")
    if config.gpus and config.gpus > torch.cuda.device_count():
        raise UserError(
            f"--gpus {config.gpus}: PyTorch finds {torch.cuda.device_count()} GPUs",
            "give fewer, or --processes on the CPU; see alexnet-fast doctor",
            exit_code=2,
        )
    return dataclasses.replace(config, device=device)
