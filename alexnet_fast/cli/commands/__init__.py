"""The group of all commands."""

from __future__ import annotations

import click

from alexnet_fast.cli.command import LazyGroup
from alexnet_fast.version import __version__

COMMANDS = {
    name: f"alexnet_fast.cli.commands.{name}:{name}"
    for name in (
        "prepare",
        "scan",
        "train",
        "evaluate",
        "predict",
        "features",
        "export",
        "serve",
        "bench",
        "show",
        "doctor",
        "demo",
    )
}


@click.group(
    cls=LazyGroup,
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: alexnet-fast doctor, then alexnet-fast train DATA",
)
@click.version_option(__version__, prog_name="alexnet-fast")
def commands() -> None:
    """Train image classifiers, export them to ONNX and TensorRT, and serve them."""
