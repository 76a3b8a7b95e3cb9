"""`alexnet-fast bench serve`: the cost of serving."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli.command import Result
from alexnet_fast.cli.commands.benchmark import benchmark, turn_runs, turn_seconds
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import EXPORTED, PathOf
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.progress import progress_bar

EXAMPLE = """\b
Examples:
  alexnet-fast bench serve model.onnx
  alexnet-fast bench serve model.onnx --concurrency 1 --image photo.jpg --json
  alexnet-fast bench serve model.onnx --rate 200 --against triton=http://127.0.0.1:8100/v2/models/net/infer
"""


def _table(result: Result) -> str:
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


@command("serve", epilog=EXAMPLE)
@click.argument("model", type=PathOf(EXPORTED))
@number("--concurrency", default=8, show_default=True, help="Concurrent requests (closed loop).")
@number("--rate", help="Requests per second, even if the server falls behind (open loop).")
@turn_seconds(5.0)
@turn_runs
@click.option("--image", type=click.Path(path_type=Path), help="Image to send.  [default: a uint8 tensor]")
@number("--threads", help="CPU threads of the model.  [default: one per core]")
@number("--max-batch-size", default=16, show_default=True, help="Largest batch of the server.")
@click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Device of the server and of the bare model.",
)
@click.option("--against", multiple=True, help="Another server's inference path, NAME=URL; may be repeated.")
@benchmark(_table)
def bench_serve(model: Path, image: Path | None, against: tuple[str, ...], **given: Any) -> Result:
    """Measure the speed of a server of MODEL.

    The server answers HTTP requests, and runs in a process of its own. It takes turns with the bare model in
    this process, called with the batch sizes that the server formed, and with other servers of the same
    model.
    """
    from alexnet_fast.bench.serve import ServeBench, measure_serve

    bench = ServeBench(
        model=model,
        encoded=_read(image) if image else None,
        against=dict(_named_url(pair) for pair in against),
        **given,
    )
    with progress_bar(0, "sending requests") as bar:
        return measure_serve(bench, bar.show)


def _named_url(pair: str) -> tuple[str, str]:
    """Splits NAME=URL."""
    name, separator, url = pair.partition("=")
    if not (name and separator and url):
        raise UserError(f"--against {pair} is not NAME=URL", "give a name and an address", exit_code=2)
    return name, url


def _read(image: Path) -> bytes:
    """Reads the image to send."""
    try:
        return image.read_bytes()
    except OSError as error:
        raise UserError(f"--image {image} cannot be read: {system_reason(error)}") from error
