"""`alexnet-fast serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers, say
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.path_roles import EXPORTED, PathOf
from alexnet_fast.cli.triton_options import triton_lines, triton_options, write_triton
from alexnet_fast.cli.types import number
from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from alexnet_fast.serve.config import Batching
    from alexnet_fast.serve.triton.model_config import TritonConfig

EXAMPLE = """\b
Examples:
  alexnet-fast serve runs/first/model.onnx
  alexnet-fast serve cells/model.onnx cars/model.onnx --name cells --name cars --http-port 8080
  alexnet-fast serve runs/first/model.onnx --name cells --triton models
  curl --data-binary @photo.jpg 'http://127.0.0.1:8000/predict?top=3'
"""


def _table(result: Result) -> str:
    if "triton" in result:
        return "\n".join(triton_lines(result["triton"]))
    return "\n".join(f"{name}: {count} reloads" for name, count in result["reloads"].items())


@command(epilog=EXAMPLE)
@click.argument("models", nargs=-1, required=True, type=PathOf(EXPORTED))
@click.option(
    "--name", "names", multiple=True, help="Name of a model, once for each MODEL.  [default: its folder]"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 lets the network in.")
@number("--http-port", default=8000, show_default=True, help="0 for any free port.")
@number("--grpc-port", default=8001, show_default=True, help="0 for any free port.")
@click.option("--no-http", is_flag=True, help="Do not listen for HTTP.")
@click.option("--no-grpc", is_flag=True, help="Do not listen for gRPC.")
@click.option("--no-page", is_flag=True, help="Do not offer the page at /.")
@options.model_device
@options.allow_fallback
@number("--threads", help="CPU threads of a model.  [default: one a core]")
@number("--max-batch-size", default=16, show_default=True, help="Images classified at once.")
@number(
    "--max-queue-delay-ms", default=0.0, show_default=True, help="Milliseconds to wait for a fuller batch."
)
@number("--max-queue-size", default=128, show_default=True, help="Images that may wait.")
@number("--timeout", default=30.0, show_default=True, help="Seconds for a request.")
@number(
    "--reload-interval",
    default=2.0,
    show_default=True,
    help="Seconds between looks for a newer file; 0 for never.",
)
@number(
    "--drain-delay",
    default=0.0,
    show_default=True,
    help="Seconds to go on after SIGTERM, not ready, for load balancers to notice.",
)
@number("--drain-timeout", default=30.0, show_default=True, help="Seconds for requests in flight.")
@click.option("--log-requests", is_flag=True, help="Log every request.")
@triton_options
@answers(_table)
def serve(models: tuple[Path, ...], names: tuple[str, ...], **given: Any) -> Result:
    """Answers requests with exported MODELS: V2 inference protocol over HTTP and gRPC, and a page.

    A MODEL is an ONNX file, a folder with a model.onnx, or a folder of numbered versions (1/model.onnx,
    2/model.onnx), of which the highest answers. A newer file is taken while the server runs; a bad one is
    refused and the old one goes on. Logs are JSON lines on stderr. SIGTERM drains and ends.

    With --triton nothing is served; of the other options --name, --threads, --max-batch-size,
    --max-queue-delay-ms,
    --max-queue-size and --timeout go into the repository.
    """
    if given["triton"] is not None:
        named, variant = _named(models, names), given["triton_variant"]
        return {"triton": write_triton(named, given["triton"], variant, _triton_config(given))}
    from alexnet_fast.serve.config import ServerConfig

    config = ServerConfig(
        host=given["host"],
        http_port=None if given["no_http"] else given["http_port"],
        grpc_port=None if given["no_grpc"] else given["grpc_port"],
        batching=_batching(given),
        device=given["device"],
        threads=given["threads"],
        allow_fallback=given["allow_fallback"],
        reload_interval=given["reload_interval"],
        drain_delay=given["drain_delay"],
        drain_timeout=given["drain_timeout"],
        page=not given["no_page"],
        log_requests=given["log_requests"],
    )
    try:
        from alexnet_fast.serve.server import run_server
    except ModuleNotFoundError as error:
        raise UserError(
            f"serve needs {error.name}, which is not installed", "pip install 'alexnet-fast[serve]'"
        ) from error
    from alexnet_fast.serve.models import ModelRegistry

    hub = ModelRegistry(_named(models, names), config)
    for model in hub.models.values():
        backend = model.current.backend
        say(f"{model.name} version {model.current.version}: {backend.path} on {backend.backend}")
    run_server(hub)
    return {"reloads": {name: model.reloads["success"] for name, model in hub.models.items()}}


def _triton_config(given: dict[str, Any]) -> TritonConfig:
    """Returns how Triton batches, and its threads."""
    from alexnet_fast.serve.triton.model_config import TritonConfig

    threads = {} if given["threads"] is None else {"threads": given["threads"]}
    return TritonConfig(batching=_batching(given), **threads)


def _batching(given: dict[str, Any]) -> Batching:
    """Returns how requests become batches, here and in Triton."""
    from alexnet_fast.serve.config import Batching

    return Batching(
        max_batch_size=given["max_batch_size"],
        max_queue_delay=given["max_queue_delay_ms"] / 1000,
        max_queue_size=given["max_queue_size"],
        timeout=given["timeout"],
    )


def _named(models: tuple[Path, ...], names: tuple[str, ...]) -> dict[str, Path]:
    """Returns the path of each model by its name.

    Raises:
        UserError: There are more or fewer names than models, or a name is there twice.
    """
    from alexnet_fast.serve.served_model import default_name

    if names and len(names) != len(models):
        raise UserError(
            f"there are {len(models)} models and {len(names)} --name", "give one for each model", exit_code=2
        )
    chosen = names or tuple(default_name(path) for path in models)
    named = dict(zip(chosen, models, strict=True))
    if len(named) < len(models):
        twice = next(name for name in chosen if chosen.count(name) > 1)
        raise UserError(f"two models are called {twice!r}", "tell them apart with --name", exit_code=2)
    return named
