"""Starts a server, and ends it without losing a request.

When it is told to end (SIGTERM, SIGINT) it says first that it is not ready, goes on answering for
`drain_delay` seconds so that load balancers notice, stops listening, answers what is in flight, and ends. A
second signal ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
import socket
import warnings
from typing import TYPE_CHECKING, Any

import grpc
import uvicorn
from PIL import Image

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.serve.grpc.service import GrpcService
from alexnet_fast.serve.http.app import http_app
from alexnet_fast.serve.http.protocol import protocol_with
from alexnet_fast.serve.log import EventHandler, log_event
from alexnet_fast.serve.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alexnet_fast.serve.config import ServerConfig
    from alexnet_fast.serve.models import ModelRegistry

# Idle connections are kept longer than common clients and load balancers keep theirs (60 s), so that it is
# never we who close one while a request is on its way.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where a server listens; None where it does not.

    Args:
        http: Such as "http://127.0.0.1:8000".
        grpc: Such as "127.0.0.1:8001".
    """

    http: str | None
    grpc: str | None


class _HttpServer(uvicorn.Server):
    """uvicorn, but signals are not its business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to us, who drain first."""
        yield


def run_server(hub: ModelRegistry, started: Callable[[Addresses], object] = lambda _: None) -> None:
    """Serves until a signal says otherwise.

    Args:
        hub: The models, loaded.
        started: Told where the server listens, once it does.

    Raises:
        UserError: A port cannot be had.
    """
    # Too many pixels are refused by the limits, with an answer; Pillow's warning would only fill the log.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    logging.basicConfig(handlers=[EventHandler(logging.WARNING)], level=logging.WARNING, force=True)
    asyncio.run(_serve(hub, started))


async def _serve(hub: ModelRegistry, started: Callable[[Addresses], object]) -> None:
    """Runs both faces, and the look-out for newer files."""
    config, metrics = hub.config, Metrics(hub)
    told = _listen_for_signals()
    http = _http_server(hub, metrics) if config.http_port is not None else None
    sockets = [_bind(config, config.http_port)] if config.http_port is not None else []
    calls, grpc_port = await _grpc_server(hub, metrics) if config.grpc_port is not None else (None, None)
    serving = [asyncio.create_task(http.serve(sockets=sockets))] if http else []
    watching = asyncio.create_task(hub.watch()) if config.reload_interval else None
    addresses = Addresses(
        http=f"http://{_address(config.host, sockets[0].getsockname()[1])}" if sockets else None,
        grpc=_address(config.host, grpc_port) if grpc_port else None,
    )
    while http and not http.started and not serving[0].done():
        await asyncio.sleep(0.01)
    if not any(face.done() for face in serving):
        log_event("ready", http=addresses.http, grpc=addresses.grpc, models=list(hub.models))
        started(addresses)
        await _told_or_ended(told, serving)
    await _drain(hub, http, calls, serving)
    if watching:
        watching.cancel()
    hub.close()
    log_event("stopped")


async def _told_or_ended(told: asyncio.Event, serving: list[asyncio.Task[None]]) -> None:
    """Waits for a signal, or for the HTTP server to end by itself, which is an error that `_drain` raises."""
    signalled = asyncio.create_task(told.wait())
    await asyncio.wait([signalled, *serving], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()


def _listen_for_signals() -> asyncio.Event:
    """Returns what is set by the first signal; the second one ends the process as signals do."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()

    def tell() -> None:
        told.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    return told


async def _drain(
    hub: ModelRegistry,
    http: _HttpServer | None,
    calls: grpc.aio.Server | None,
    serving: list[asyncio.Task[None]],
) -> None:
    """Ends both faces; what is in flight is answered."""
    hub.draining = True
    log_event("draining", seconds=hub.config.drain_delay)
    await asyncio.sleep(hub.config.drain_delay)
    if http:
        http.should_exit = True
    if calls:
        await calls.stop(hub.config.drain_timeout)
    await asyncio.gather(*serving)


def _http_server(hub: ModelRegistry, metrics: Metrics) -> _HttpServer:
    config = uvicorn.Config(
        http_app(hub, metrics),
        http=protocol_with(hub.config.limits, hub.config.batching.timeout),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(hub.config.drain_timeout)),
    )
    return _HttpServer(config)


def _bind(config: ServerConfig, port: int | None) -> socket.socket:
    """Returns a socket that listens; asking for it here makes a taken port a clear error."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where a socket says that it is TCP; with it on, each answer
    # waits 40 ms for the client's acknowledgement of its header.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, port))
        # A bound port is not taken yet: with SO_REUSEADDR another socket may bind it too, until one listens.
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise UserError(
            f"cannot listen on {_address(config.host, port)}: {system_reason(error)}",
            "choose another --host or --http-port",
        ) from error
    return listening


async def _grpc_server(hub: ModelRegistry, metrics: Metrics) -> tuple[grpc.aio.Server, int]:
    """Starts the gRPC face."""
    config = hub.config
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", config.limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        # Otherwise two servers share a taken port, and each gets half of the calls.
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((GrpcService(hub, metrics).handler(),))
    wanted = _address(config.host, config.grpc_port)
    try:
        port = server.add_insecure_port(wanted)
    except RuntimeError as error:
        raise UserError(
            f"cannot listen on {wanted}: {str(error).splitlines()[0].lower()}",
            "choose another --host or --grpc-port",
        ) from error
    await server.start()
    return server, port


def _address(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
