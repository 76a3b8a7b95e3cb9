"""`alexnet-fast serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli.command import Result, answers, say
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.options import allow_fallback, model_device
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
    "--name", "names", multiple=True, help="Name of a model, once per MODEL.  [default: its folder]"
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address; 0.0.0.0 opens it to the network.",
)
@number("--http-port", default=8000, show_default=True, help="Port of HTTP; 0 for any free one.")
@number("--grpc-port", default=8001, show_default=True, help="Port of gRPC; 0 for any free one.")
@click.option("--no-http", is_flag=True, help="Do not listen for HTTP.")
@click.option("--no-grpc", is_flag=True, help="Do not listen for gRPC.")
@click.option("--no-page", is_flag=True, help="Do not serve the page at /.")
@model_device
@allow_fallback
@number("--threads", help="CPU threads per model.  [default: one per core]")
@number("--max-batch-size", default=16, show_default=True, help="Most images per batch, and per request.")
@number(
    "--max-queue-delay-ms",
    default=0.0,
    show_default=True,
    help="Milliseconds to wait for a fuller batch.",
)
@number(
    "--max-queue-size",
    default=128,
    show_default=True,
    help="Most images in the queue.",
)
@number("--timeout", default=30.0, show_default=True, help="Deadline of a request, in seconds.")
@number(
    "--reload-interval",
    default=2.0,
    show_default=True,
    help="Seconds between checks for a newer file; 0 for never.",
)
@number(
    "--drain-delay",
    default=0.0,
    show_default=True,
    help="Seconds after SIGTERM to go on serving while not ready, so that load balancers notice.",
)
@number(
    "--drain-timeout",
    default=30.0,
    show_default=True,
    help="Seconds for the requests in flight to end.",
)
@click.option("--log-requests", is_flag=True, help="Log every request.")
@triton_options
@answers(_table)
def serve(models: tuple[Path, ...], names: tuple[str, ...], **options: Any) -> Result:
    """Serve exported MODELS: V2 inference protocol over HTTP and gRPC, and a web page.

    A MODEL is an ONNX file, a folder with a model.onnx, or a folder of numbered versions (1/model.onnx,
    2/model.onnx), of which the highest is served. The server loads a newer file while it runs, and keeps the
    old one if the newer one is bad. Logs are JSON lines on stderr. SIGTERM drains the server and ends it.

    With --triton the command writes a model repository and serves nothing. The repository takes over --name,
    --threads, --max-batch-size, --max-queue-delay-ms, --max-queue-size and --timeout.
    """
    if options["triton"] is not None:
        named, variant = _named(models, names), options["triton_variant"]
        return {"triton": write_triton(named, options["triton"], variant, _triton_config(options))}
    from alexnet_fast.serve.config import ServerConfig

    config = ServerConfig(
        host=options["host"],
        http_port=None if options["no_http"] else options["http_port"],
        grpc_port=None if options["no_grpc"] else options["grpc_port"],
        batching=_batching(options),
        device=options["device"],
        threads=options["threads"],
        allow_fallback=options["allow_fallback"],
        reload_interval=options["reload_interval"],
        drain_delay=options["drain_delay"],
        drain_timeout=options["drain_timeout"],
        page=not options["no_page"],
        log_requests=options["log_requests"],
    )
    try:
        from alexnet_fast.serve.server import run_server
    except ModuleNotFoundError as error:
        raise UserError(
            f"serve needs {error.name}, which is not installed", "pip install 'alexnet-fast[serve]'"
        ) from error
    from alexnet_fast.serve.models import ModelRegistry

    registry = ModelRegistry(_named(models, names), config)
    for model in registry.models.values():
        backend = model.current.backend
        say(f"{model.name} version {model.current.version}: {backend.path} on {backend.backend}")
    run_server(registry)
    return {"reloads": {name: model.reloads["success"] for name, model in registry.models.items()}}


def _triton_config(options: dict[str, Any]) -> TritonConfig:
    """Returns how Triton batches, and its threads."""
    from alexnet_fast.serve.triton.model_config import TritonConfig

    threads = {} if options["threads"] is None else {"threads": options["threads"]}
    return TritonConfig(batching=_batching(options), **threads)


def _batching(options: dict[str, Any]) -> Batching:
    """Returns how requests are joined into batches, here and in Triton."""
    from alexnet_fast.serve.config import Batching

    return Batching(
        max_batch_size=options["max_batch_size"],
        max_queue_delay=options["max_queue_delay_ms"] / 1000,
        max_queue_size=options["max_queue_size"],
        timeout=options["timeout"],
    )


def _named(models: tuple[Path, ...], names: tuple[str, ...]) -> dict[str, Path]:
    """Returns the path of each model by its name.

    Raises:
        UserError: There are more or fewer names than models, or a name is repeated.
    """
    from alexnet_fast.serve.models import default_name

    if names and len(names) != len(models):
        raise UserError(
            f"there are {len(models)} models and {len(names)} --name", "give one for each model", exit_code=2
        )
    chosen = names or tuple(default_name(path) for path in models)
    named = dict(zip(chosen, models, strict=True))
    if len(named) < len(models):
        twice = next(name for name in chosen if chosen.count(name) > 1)
        raise UserError(f"two models are called {twice!r}", "distinguish them with --name", exit_code=2)
    return named
