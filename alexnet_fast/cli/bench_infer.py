"""`alexnet-fast bench infer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.progress import progress_bar

if TYPE_CHECKING:
    import torch

    from alexnet_fast.pipelines.spec import AugmentSpec

EXAMPLE = """\b
Examples:
  alexnet-fast bench infer
  alexnet-fast bench infer runs/first --batch-size 8 --threads 2 --runs 50 --json
"""


def _table(result: Result) -> str:
    from alexnet_fast.bench.report import figure_line, machine_line

    lines = [
        f"{machine_line(result)}; {result['threads']} threads, batches of {result['batch_size']},"
        f" median of {result['runs']} turns",
        f"{result['model']} in {result['backend']}; {result['stem']}",
        figure_line(result, "ours, onnxruntime", "p50_ms", "ours"),
        f"  p90 {result['p90_ms']:.1f} ms, p99 {result['p99_ms']:.1f} ms,"
        f" {result['images_per_second']:.1f} images/s",
    ]
    lines += [figure_line(other, other["name"], "p50_ms", "ours") for other in result["compared"]]
    lines += [f"{other['name']:34s} is not installed: {other['mend']}" for other in result["left_out"]]
    return "\n".join(lines)


@click.command("infer", epilog=EXAMPLE)
@click.argument("weights", required=False, metavar="[RUN|WEIGHTS]", type=click.Path(path_type=Path))
@click.option("--model", help="Name of the network, for bare weights.  [default: alexnet if there are none]")
@options.threads
@click.option("--batch-size", type=int, default=1, show_default=True, help="Pictures a call.")
@click.option("--runs", type=int, default=15, show_default=True, help="Counted calls of each contestant.")
@answers(_table)
def bench_infer(weights: Path | None, model: str | None, **given: Any) -> Result:
    """How long a ten-crop answer takes on the CPU, from pixels to probabilities.

    Our file in onnxruntime, against the same file without the shared stem, torch's own export of the ten
    crops, one crop, and PyTorch; the files in OpenVINO too where it is installed. Contestants take turns call
    by call. Without RUN the network has fresh weights: its time does not depend on them.
    """
    from alexnet_fast.bench import report
    from alexnet_fast.bench.infer import InferBench, measure_infer

    net, spec, name, classes = _network(weights, model)
    contest = InferBench(
        net=net,
        spec=spec,
        model=name,
        classes=classes,
        batch_size=given["batch_size"],
        threads=given["threads"],
        runs=given["runs"],
    )
    with progress_bar(7 * (given["runs"] + 1), "answering") as bar:
        result = measure_infer(contest, show=lambda: bar.update(1))
    return {**result, **report.machine()}


def _network(weights: Path | None, model: str | None) -> tuple[torch.nn.Module, AugmentSpec, str, int]:
    """Returns the network to measure, its preprocessing, name and number of classes."""
    from alexnet_fast.models import create_model
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.training.trained import load_trained

    if weights is not None:
        trained = load_trained(weights, model)
        return trained.net, trained.spec, trained.model, len(trained.classes)
    model = model or "alexnet"
    net = create_model(model)
    given = net.input
    # The small networks take whole pictures; eight pixels more are a margin for their crops.
    resize = given.resize if given.resize > given.crop else given.crop + 8
    spec = AugmentSpec(resize=resize, crop=given.crop, mean=given.mean, std=given.std)
    return net.eval(), spec, model, net.num_classes
