"""`alexnet-fast bench compute` and `bench train`: what a step costs, and what holds training back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli import options, train_options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import DATA, PathOf
from alexnet_fast.cli.types import number
from alexnet_fast.utils.progress import progress_bar

_UNIT = "images_per_second"

COMPUTE_EXAMPLE = """\b
Examples:
  alexnet-fast bench compute
  alexnet-fast bench compute --model alexnet-bn --batch-size 128 --compile --json
"""

TRAIN_EXAMPLE = """\b
Examples:
  alexnet-fast bench train prepared
  alexnet-fast bench train prepared --model alexnet-bn --batch-size 64 --runs 9 --json
"""

_steps = number("--steps", default=10, show_default=True, help="Steps a run.")
_runs = number("--runs", default=5, show_default=True, help="Counted runs of each.")
_model = click.option("--model", default="alexnet", show_default=True, help="Network, by name.")
_batch_size = number("--batch-size", default=32, show_default=True, help="Images a step.")


def _where(result: Result) -> str:
    from alexnet_fast.bench.report import machine_line

    return (
        f"{machine_line(result)}; {result['model']} in {result['precision']} on {result['device']},"
        f" {result['workers']} workers, batches of {result['batch_size']},"
        f" median of {result['runs']} turns of {result['steps']} steps"
    )


def _compute_table(result: Result) -> str:
    from alexnet_fast.bench.report import figure_line

    lines = [_where(result), figure_line(result, "ours", _UNIT, "ours")]
    return "\n".join([*lines, *(figure_line(row, row["name"], _UNIT, "ours") for row in result["compared"])])


@command("compute", epilog=COMPUTE_EXAMPLE)
@_model
@_batch_size
@options.device
@options.amp("auto")
@train_options.train_option("compile")
@train_options.train_option("cuda_graphs")
@_steps
@_runs
@answers(_compute_table)
def bench_compute(**given: Any) -> Result:
    """How fast a training step computes, on noise that is there already.

    The loop of `train` (channels_last, our LRN, fused optimiser), against the plain net: contiguous, torch's
    LRN, not compiled, torch's SGD as it comes; both in the same precision, in turns.
    """
    from alexnet_fast.bench import report
    from alexnet_fast.bench.compute import ComputeBench, compute_config, measure_compute
    from alexnet_fast.training.precision import choose_precision
    from alexnet_fast.utils.device import choose_device

    contest = ComputeBench(
        config=compute_config(
            given["model"], given["batch_size"], compiled=given["compile"], cuda_graphs=given["cuda_graphs"]
        ),
        precision=choose_precision(given["amp"], choose_device(given["device"])),
        steps=given["steps"],
        runs=given["runs"],
    )
    with progress_bar(2 * (given["runs"] + 1), "computing") as bar:
        result = measure_compute(contest, on_progress=lambda: bar.update(1))
    return {**result, **report.machine()}


def _train_table(result: Result) -> str:
    together = "on the same cores" if result["cores_shared"] else "side by side"
    return "\n".join(
        [
            _where(result),
            f"input alone     {result['input']:8.0f} images/s",
            f"compute alone   {result['compute']:8.0f} images/s",
            f"train           {result['train']:8.0f} images/s ({result['low']:.0f} to {result['high']:.0f})",
            f"bound by {result['bound_by']}; training reaches {result['of_allowed']:.2f} of the"
            f" {result['allowed']:.0f} images/s that both allow {together}"
            f" ({result['of_allowed_low']:.2f} to {result['of_allowed_high']:.2f})",
        ]
    )


@command("train", epilog=TRAIN_EXAMPLE)
@click.argument("data", type=PathOf(DATA))
@_model
@_batch_size
@options.dali
@options.device
@options.amp("auto")
@train_options.train_option("compile")
@train_options.train_option("cuda_graphs")
@options.workers
@options.shard_fields
@_steps
@_runs
@answers(_train_table)
def bench_train(**given: Any) -> Result:
    """What holds training on DATA back: its input or its computation, and how much is lost between.

    The input alone, computation alone (on one batch that stays), and training, in turns. On a CPU both share
    the cores, so their times add up; on a GPU the slower one decides.
    """
    from alexnet_fast.bench import report
    from alexnet_fast.bench.train import TrainBench, measure_train
    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.precision import choose_precision
    from alexnet_fast.utils.device import choose_device

    steps, runs = given.pop("steps"), given.pop("runs")
    # Figures of speed, not of accuracy: a rate at which a few steps from fresh weights do not diverge.
    config = TrainConfig(run=Path(), lr=1e-5, **given)
    contest = TrainBench(
        config=config,
        precision=choose_precision(config.amp, choose_device(config.device)),
        steps=steps,
        runs=runs,
    )
    with progress_bar(3 * (runs + 1), "training") as bar:
        result = measure_train(contest, on_progress=lambda: bar.update(1))
    return {**result, **report.machine()}
