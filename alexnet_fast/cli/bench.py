"""`alexnet-fast bench`: measurements, ours and the peer's in turns in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.bench_startup import bench_startup
from alexnet_fast.cli.bench_training import bench_compute, bench_train
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.progress import progress_bar
from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from alexnet_fast.data import PictureList

EXAMPLE = """\b
Examples:
  alexnet-fast bench input pictures
  alexnet-fast bench input pictures --threads 4 --batch-size 128 --runs 9 --json
  alexnet-fast bench input pictures --peers alexnet_fast/bench/peers    (after: make peers)
"""


@click.group()
def bench() -> None:
    """Measure, with the peer in the same run."""


bench.add_command(bench_compute)
bench.add_command(bench_train)
bench.add_command(bench_startup)


def _table(result: Result) -> str:
    from alexnet_fast.bench.input import NAMES, UNIT
    from alexnet_fast.bench.report import figure_line, machine_line

    ours = NAMES[result["loader"]]
    lines = [
        f"{machine_line(result)}; {result['threads']} threads, batches of {result['batch_size']},"
        f" {result['images']} pictures, median of {result['runs']} turns",
        figure_line(result, ours, UNIT, ours),
    ]
    lines += [figure_line(other, other["name"], UNIT, ours) for other in result["compared"]]
    lines += [f"not run: {name}: {reason}" for name, reason in result["not_run"].items()]
    lines.append("a picture costs DALI, in microseconds of the machine:")
    lines += [f"  {part:20s} {cost:8.0f}" for part, cost in result["microseconds_per_image"].items()]
    return "\n".join(lines)


@bench.command("input", epilog=EXAMPLE)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--loader",
    "kind",
    type=click.Choice(["dali", "torch"]),
    default="dali",
    show_default=True,
    help="Which of our loaders the others are compared with.",
)
@options.threads
@click.option("--batch-size", type=int, default=32, show_default=True, help="Pictures a batch.")
@click.option("--resize", type=int, default=256, show_default=True, help="Shorter side of the pictures.")
@click.option("--crop", type=int, default=224, show_default=True, help="Input side of the network.")
@options.device
@click.option("--runs", type=int, default=5, show_default=True, help="Turns of each contestant.")
@click.option("--seconds", type=float, default=1.0, show_default=True, help="Length of a turn.")
@click.option(
    "--peers", type=click.Path(path_type=Path), help="Folder of other projects' loaders, *_peer.py."
)
@options.leave_out
@answers(_table)
def bench_input(data: Path, **given: Any) -> Result:
    """How fast the training pictures of DATA are loaded, and which part costs what.

    DALI with the training augmentation; Pillow in a torch DataLoader with the same augmentation and as many
    workers; DALI decoding the whole pictures and nothing else; and the peers, in an environment of their own.
    All take turns, each measured once it flows. A part's cost is what it adds to the time of those before it.
    """
    from alexnet_fast.bench import report
    from alexnet_fast.bench.input import InputBench, measure_input
    from alexnet_fast.bench.peer import PeerError
    from alexnet_fast.device import choose_device
    from alexnet_fast.errors import UserError
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.spec import AugmentSpec

    contest = InputBench(
        pictures=_pictures(data, given["leave_out"]),
        spec=AugmentSpec(resize=given["resize"], crop=given["crop"]),
        config=LoaderConfig(
            kind=given["kind"], device=choose_device(given["device"]), threads=given["threads"]
        ),
        batch_size=given["batch_size"],
        runs=given["runs"],
        seconds=given["seconds"],
        peers=given["peers"],
    )
    with progress_bar(0, "loading") as bar:

        def begin(turns: int) -> None:
            bar.length = turns

        try:
            result = measure_input(contest, begin, show=lambda: bar.update(1))
        except PeerError as error:
            raise UserError(f"a peer ended in its turn: {error}", "leave --peers out") from error
    return {**result, **report.machine()}


def _pictures(data: Path, left_out: Path | None) -> PictureList:
    """Lists the training pictures of a folder, or all where it has no train/."""
    from alexnet_fast.pipelines.image_dataset import list_data

    train = data / "train"
    pictures = list_data(train if train.is_dir() else data)
    some = options.left_out(left_out)
    return pictures if some is None else some.apply(data, "train" if train.is_dir() else "all", pictures)


SERVE_EXAMPLE = """\b
Examples:
  alexnet-fast bench serve model.onnx
  alexnet-fast bench serve model.onnx --concurrency 1 --image photo.jpg --json
  alexnet-fast bench serve model.onnx --rate 200 --against triton=http://127.0.0.1:8100/v2/models/net/infer
"""


def _serve_table(result: Result) -> str:
    from alexnet_fast.bench.report import figure_line, machine_line
    from alexnet_fast.bench.serve import OURS, UNIT

    batches = ", ".join(f"{count} of {size}" for size, count in result["batch_sizes"].items())
    lines = [
        f"{machine_line(result)}; {result['loop']} loop, {result['input']}, median of {result['runs']} turns",
        figure_line(result, OURS, UNIT, OURS),
        f"  p50 {result['p50_ms']:.1f} ms, p90 {result['p90_ms']:.1f} ms, p99 {result['p99_ms']:.1f} ms;"
        f" {result['rejected']} rejected, {result['failed']} failed; batches: {batches}",
    ]
    for other in result["compared"]:
        lines.append(figure_line(other, other["name"], UNIT, OURS))
        lines.append(f"  p50 {other['p50_ms']:.1f} ms, to which ours adds {other['added_p50_ms']:.1f} ms")
    return "\n".join(lines)


@bench.command("serve", epilog=SERVE_EXAMPLE)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--concurrency", type=int, default=8, show_default=True, help="Requests at once.")
@click.option("--rate", type=float, help="Requests a second, whether or not the server keeps up.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="Length of a turn.")
@click.option("--runs", type=int, default=5, show_default=True, help="Turns of each contestant.")
@click.option("--image", type=click.Path(path_type=Path), help="Send this file.  [default: a uint8 tensor]")
@click.option("--threads", type=int, help="CPU threads of the model.  [default: one a core]")
@click.option("--max-batch", type=int, default=16, show_default=True, help="Pictures classified at once.")
@click.option("--against", multiple=True, help="NAME=URL of another server's inference path.")
@answers(_serve_table)
def bench_serve(model: Path, image: Path | None, against: tuple[str, ...], **given: Any) -> Result:
    """How fast MODEL is served over HTTP, and what serving costs.

    The server runs in a process of its own. It is compared with the bare model in this process, called with
    the batch sizes that the server formed, and with other servers of the same model, in turns.
    """
    from alexnet_fast.bench.report import machine
    from alexnet_fast.bench.serve import ServeBench, measure_serve

    contest = ServeBench(
        model=model,
        encoded=_read(image) if image else None,
        against=dict(_named_url(pair) for pair in against),
        **given,
    )
    with progress_bar((2 + len(against)) * (given["runs"] + 1), "asking") as bar:
        result = measure_serve(contest, show=lambda: bar.update(1))
    return {**result, **machine()}


def _named_url(pair: str) -> tuple[str, str]:
    """Splits NAME=URL."""
    name, found, url = pair.partition("=")
    if not (name and found and url):
        raise UserError(f"--against {pair} is not NAME=URL", "give a name and an address", exit_code=2)
    return name, url


def _read(image: Path) -> bytes:
    """Reads the picture that is sent."""
    try:
        return image.read_bytes()
    except OSError as error:
        raise UserError(
            f"--image {image} cannot be read: {(error.strerror or str(error)).lower()}"
        ) from error
