"""`alexnet-fast bench`: measurements, ours and the peer's in turns in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.progress import progress_bar

EXAMPLE = """\b
Examples:
  alexnet-fast bench input pictures
  alexnet-fast bench input pictures --threads 4 --batch-size 128 --runs 9 --json
"""


@click.group()
def bench() -> None:
    """Measure, with the peer in the same run."""


_UNIT = "images_per_second"


def _table(result: Result) -> str:
    from alexnet_fast.bench.report import figure_line, machine_line

    lines = [
        f"{machine_line(result)}; {result['threads']} threads, batches of {result['batch_size']},"
        f" {result['images']} pictures, median of {result['runs']} turns",
        figure_line(result, "DALI", _UNIT, "DALI"),
    ]
    lines += [figure_line(other, other["name"], _UNIT, "DALI") for other in result["compared"]]
    lines.append("a picture costs, in microseconds of the machine:")
    lines += [f"  {part:20s} {cost:8.0f}" for part, cost in result["microseconds_per_image"].items()]
    return "\n".join(lines)


@bench.command("input", epilog=EXAMPLE)
@click.argument("data", type=click.Path(path_type=Path))
@options.threads
@click.option("--batch-size", type=int, default=32, show_default=True, help="Pictures a batch.")
@click.option("--resize", type=int, default=256, show_default=True, help="Shorter side of the pictures.")
@click.option("--crop", type=int, default=224, show_default=True, help="Input side of the network.")
@options.device
@click.option("--runs", type=int, default=5, show_default=True, help="Epochs of each contestant.")
@answers(_table)
def bench_input(data: Path, **given: Any) -> Result:
    """How fast the training pictures of DATA are loaded, and which part costs what.

    DALI with the training augmentation, against Pillow in a torch DataLoader with the same augmentation and
    as many workers, and against DALI decoding the whole pictures and nothing else. Every contestant loads the
    same epochs, in turns. A part's cost is the time that it adds to the parts before it.
    """
    from alexnet_fast.bench import report
    from alexnet_fast.bench.input import InputBench, measure_input
    from alexnet_fast.data import open_data
    from alexnet_fast.device import choose_device
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.spec import AugmentSpec

    contest = InputBench(
        pictures=open_data(data).train,
        spec=AugmentSpec(resize=given["resize"], crop=given["crop"]),
        config=LoaderConfig(device=choose_device(given["device"]), threads=given["threads"]),
        batch_size=given["batch_size"],
        runs=given["runs"],
    )
    with progress_bar(6 * (given["runs"] + 1), "loading") as bar:
        result = measure_input(contest, show=lambda: bar.update(1))
    return {**result, **report.machine()}


def _infer_table(result: Result) -> str:
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


INFER_EXAMPLE = """\b
Examples:
  alexnet-fast bench infer
  alexnet-fast bench infer runs/first --batch-size 8 --threads 2 --runs 50 --json
"""


@bench.command("infer", epilog=INFER_EXAMPLE)
@click.argument("weights", required=False, metavar="[RUN|WEIGHTS]", type=click.Path(path_type=Path))
@click.option(
    "--model", default="alexnet", show_default=True, help="Name of the network, for bare weights or none."
)
@options.threads
@click.option("--batch-size", type=int, default=1, show_default=True, help="Pictures a call.")
@click.option("--runs", type=int, default=15, show_default=True, help="Counted calls of each contestant.")
@answers(_infer_table)
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


def _network(weights: Path | None, model: str | None) -> tuple[Any, Any, str, int]:
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
    return (
        net.eval(),
        AugmentSpec(resize=resize, crop=given.crop, mean=given.mean, std=given.std),
        model,
        1000,
    )
