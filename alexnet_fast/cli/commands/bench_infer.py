"""`alexnet-fast bench infer`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result
from alexnet_fast.cli.commands.benchmark import benchmark, runs
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import NETWORK, PathOf
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError
from alexnet_fast.utils.progress import progress_bar
from alexnet_fast.utils.ranges import BATCH

if TYPE_CHECKING:
    from alexnet_fast.bench.network import BenchModel

EXAMPLE = """\b
Examples:
  alexnet-fast bench infer
  alexnet-fast bench infer --batch-size 1,4,16,64 --threads 2
  alexnet-fast bench infer runs/first --batch-size 8 --runs 50 --json
  alexnet-fast bench infer runs/first --device tensorrt --cuda-graphs
"""


def _table(result: Result) -> str:
    from alexnet_fast.bench.report import machine_line

    lines = [
        f"{machine_line(result)}; {result['threads']} threads, median of {result['runs']} turns",
        f"{result['model']} in {result['backend']}; {result['stem']}",
        f"batch  {'milliseconds':42s} {'p50':>8s} {'p90':>8s} {'p99':>8s} {'images/s':>9s}",
    ]
    for batch in result["batches"]:
        lines.append(_row(batch["batch_size"], {"name": result["ours"], **batch}))
        lines += [_row(batch["batch_size"], other) for other in batch["compared"]]
    lines += [f"not run: {name}: {reason}" for name, reason in result["not_run"].items()]
    return "\n".join(lines)


def _row(size: int, row: Result) -> str:
    """Renders the line of a candidate."""
    line = f"{size:5d}  {row['name']:42s} {row['p50_ms']:8.1f} {row['p90_ms']:8.1f} {row['p99_ms']:8.1f}"
    line += f" {row['images_per_second']:9.1f}"
    if "ours_over_it" in row:
        spread = f"({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
        line += f"  ours takes {row['ours_over_it']:.2f} of it {spread}"
    if "transfer_ms" in row:
        line += f"  transfers {row['transfer_ms']:.2f}, network {row['compute_ms']:.2f}"
    return line


@command("infer", epilog=EXAMPLE)
@click.argument("weights", required=False, metavar="[RUN|WEIGHTS]", type=PathOf(NETWORK))
@click.option("--model", help="Name of the network, for bare weights.  [default: alexnet if there are none]")
@number(
    "--threads",
    default=lambda: min(8, os.cpu_count() or 1),
    show_default="one per core, at most 8",
    help="CPU threads of every candidate.",
)
@click.option(
    "--batch-size",
    "sizes",
    multiple=True,
    default=("1",),
    show_default=True,
    metavar="N[,N...]",
    help="Images per call; several sizes give one table.",
)
@runs(15, "Counted calls per candidate.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Our candidate: auto or cpu, cuda or cuda:N (onnxruntime), tensorrt (the engine).",
)
@options.allow_fallback
@click.option("--cuda-graphs", is_flag=True, help="Run the engine as a CUDA graph too.")
@benchmark(_table)
def bench_infer(weights: Path | None, model: str | None, **given: Any) -> Result:
    """Measure the latency of predictions.

    A ten-crop prediction is timed from pixels to probabilities. Our file in onnxruntime takes turns with the
    same file without the shared stem, torch's own export of the ten crops, one crop, and PyTorch; with the
    files in OpenVINO, if it is installed; and on a GPU with onnxruntime's CUDA and TensorRT providers, the
    engine and PyTorch. A candidate that cannot run is named with the reason. Without RUN the network has
    fresh weights: its speed does not depend on them.
    """
    from alexnet_fast.bench.infer import measure_infer
    from alexnet_fast.bench.infer_config import InferBench

    sizes = _sizes(given.pop("sizes"))
    bench = InferBench(network=_network(weights, model), batch_sizes=sizes, **given)
    with progress_bar(0, "predicting") as bar:
        return measure_infer(bench, bar.show)


def _sizes(texts: tuple[str, ...]) -> tuple[int, ...]:
    """Reads the batch sizes.

    Raises:
        UserError: An entry is not a batch size.
    """
    try:
        return tuple(int(BATCH.read(size)) for text in texts for size in text.split(","))
    except ValueError as error:
        raise UserError(
            f"--batch-size {' '.join(texts)} is not a list of batch sizes",
            f"give one, or several such as 1,4,16,64, each at least 1 and at most {BATCH.most:,}",
            exit_code=2,
        ) from error


def _network(weights: Path | None, model: str | None) -> BenchModel:
    """Returns the network to measure."""
    from alexnet_fast.bench.network import BenchModel, fresh_network
    from alexnet_fast.training.checkpoint.model_io import load_trained

    if weights is None:
        return fresh_network(model or "alexnet")
    trained = load_trained(weights, model)
    return BenchModel(net=trained.net, spec=trained.spec, model=trained.model, classes=len(trained.classes))
