"""`alexnet-fast bench serve`: what serving costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli.command import Result, answers
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
@number("--concurrency", default=8, show_default=True, help="Requests at once.")
@number("--rate", help="Requests a second, whether or not the server keeps up.")
@number("--seconds", default=5.0, show_default=True, help="Length of a turn.")
@number("--runs", default=5, show_default=True, help="Turns of each candidate.")
@click.option("--image", type=click.Path(path_type=Path), help="Send this file.  [default: a uint8 tensor]")
@number("--threads", help="CPU threads of the model.  [default: one a core]")
@number("--max-batch-size", default=16, show_default=True, help="Images classified at once.")
@click.option(
    "--device", default="auto", show_default=True, help="Of the server and the bare model, as for serve."
)
@click.option("--against", multiple=True, help="NAME=URL of another server's inference path.")
@answers(_table)
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
        result = measure_serve(contest, on_progress=lambda: bar.update(1))
    return {**result, **machine()}


def _named_url(pair: str) -> tuple[str, str]:
    """Splits NAME=URL."""
    name, found, url = pair.partition("=")
    if not (name and found and url):
        raise UserError(f"--against {pair} is not NAME=URL", "give a name and an address", exit_code=2)
    return name, url


def _read(image: Path) -> bytes:
    """Reads the image that is sent."""
    try:
        return image.read_bytes()
    except OSError as error:
        raise UserError(f"--image {image} cannot be read: {system_reason(error)}") from error
