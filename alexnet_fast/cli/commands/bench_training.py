"""`alexnet-fast bench compute` and `bench train`: the cost of a training step, and the bottleneck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result
from alexnet_fast.cli.commands import benchmark as shared
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import DATA, PathOf
from alexnet_fast.cli.train_options import train_option
from alexnet_fast.utils.progress import progress_bar

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


def _setup(result: Result, threads: str) -> str:
    from alexnet_fast.bench.report import machine_line

    return (
        f"{machine_line(result)}; {result['model']} in {result['precision']} on {result['device']},"
        f" {result[threads]} {threads}, batches of {result['batch_size']},"
        f" median of {result['runs']} turns of {result['steps']} steps"
    )


def _compute_table(result: Result) -> str:
    from alexnet_fast.bench.report import IMAGES_PER_SECOND, figure_lines

    return "\n".join([_setup(result, "threads"), *figure_lines(result, IMAGES_PER_SECOND, "ours")])


@command("compute", epilog=COMPUTE_EXAMPLE)
@shared.model
@shared.step_batch_size
@options.device
@options.amp("auto")
@train_option("compile")
@train_option("cuda_graphs")
@shared.steps
@shared.turn_runs
@shared.benchmark(_compute_table)
def bench_compute(**given: Any) -> Result:
    """Measure the speed of a training step.

    The step computes on noise that is on the device already. The training loop of `train` (channels_last, our
    LRN, fused optimiser) takes turns with the plain network: contiguous, torch's LRN, not compiled, torch's
    default SGD. Both compute in the same precision.
    """
    from alexnet_fast.bench.compute import StepBench, compute_config, measure_compute
    from alexnet_fast.training.precision import choose_precision
    from alexnet_fast.utils.device import choose_device

    bench = StepBench(
        config=compute_config(
            given["model"], given["batch_size"], compiled=given["compile"], cuda_graphs=given["cuda_graphs"]
        ),
        precision=choose_precision(given["amp"], choose_device(given["device"])),
        steps=given["steps"],
        runs=given["runs"],
    )
    with progress_bar(0, "computing") as bar:
        return measure_compute(bench, bar.show)


def _train_table(result: Result) -> str:
    together = "on the same cores" if result["cores_shared"] else "side by side"
    return "\n".join(
        [
            _setup(result, "workers"),
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
@shared.model
@shared.step_batch_size
@options.dali
@options.device
@options.amp("auto")
@train_option("compile")
@train_option("cuda_graphs")
@options.workers
@options.shard_fields
@shared.steps
@shared.turn_runs
@shared.benchmark(_train_table)
def bench_train(**given: Any) -> Result:
    """Find the bottleneck of training on DATA.

    It is either the input or the computation. The input alone, the computation alone (on one batch that stays
    on the device) and training take turns. On a CPU both parts share the cores, so their times add up; on a
    GPU the slower one decides.
    """
    from alexnet_fast.bench.compute import StepBench
    from alexnet_fast.bench.train import measure_train
    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.precision import choose_precision
    from alexnet_fast.utils.device import choose_device

    steps, runs = given.pop("steps"), given.pop("runs")
    # Speed is measured, not accuracy: with this rate a few steps from fresh weights do not diverge.
    config = TrainConfig(run=Path(), lr=1e-5, **given)
    precision = choose_precision(config.amp, choose_device(config.device))
    bench = StepBench(config=config, precision=precision, steps=steps, runs=runs)
    with progress_bar(0, "training") as bar:
        return measure_train(bench, bar.show)
