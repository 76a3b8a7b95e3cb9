"""Starts a server, and ends it without losing a request.

On SIGTERM or SIGINT the server first reports that it is not ready, and goes on answering for `drain_delay`
seconds so that load balancers notice. Then it stops listening, answers the requests in flight, and ends. A
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

# Longer than common clients and load balancers keep idle connections (60 s), so that the server never closes
# one while a request is on its way.
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where a server listens; None for a protocol that is off.

    Args:
        http: Such as "http://127.0.0.1:8000".
        grpc: Such as "127.0.0.1:8001".
    """

    http: str | None
    grpc: str | None


class _HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Installs no handlers: `_stop_signal` has its own, which drain first."""
        yield


def run_server(registry: ModelRegistry, on_start: Callable[[Addresses], object] = lambda _: None) -> None:
    """Serves until a signal ends it.

    Args:
        registry: The loaded models.
        on_start: Called with the addresses once the server listens.

    Raises:
        UserError: A port is unavailable.
    """
    # The limits refuse too many pixels with an answer; Pillow's warning would only fill the log.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    logging.basicConfig(handlers=[EventHandler(logging.WARNING)], level=logging.WARNING, force=True)
    asyncio.run(_serve(registry, on_start))


async def _serve(registry: ModelRegistry, on_start: Callable[[Addresses], object]) -> None:
    """Runs the HTTP and gRPC servers, and watches for newer files."""
    config, metrics = registry.config, Metrics(registry)
    stop = _stop_signal()
    http = _http_server(registry, metrics) if config.http_port is not None else None
    sockets = [_bind(config, config.http_port)] if config.http_port is not None else []
    calls, grpc_port = await _grpc_server(registry, metrics) if config.grpc_port is not None else (None, None)
    serving = [asyncio.create_task(http.serve(sockets=sockets))] if http else []
    watching = asyncio.create_task(registry.watch()) if config.reload_interval else None
    addresses = Addresses(
        http=f"http://{_address(config.host, sockets[0].getsockname()[1])}" if sockets else None,
        grpc=_address(config.host, grpc_port) if grpc_port else None,
    )
    while http and not http.started and not serving[0].done():
        await asyncio.sleep(0.01)
    if not any(task.done() for task in serving):
        log_event("ready", http=addresses.http, grpc=addresses.grpc, models=list(registry.models))
        on_start(addresses)
        await _stop_or_end(stop, serving)
    await _drain(registry, http, calls, serving)
    if watching:
        watching.cancel()
    registry.close()
    log_event("stopped")


async def _stop_or_end(stop: asyncio.Event, serving: list[asyncio.Task[None]]) -> None:
    """Waits for a signal, or for the HTTP server to end by itself, which is an error that `_drain` raises."""
    signalled = asyncio.create_task(stop.wait())
    await asyncio.wait([signalled, *serving], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()


def _stop_signal() -> asyncio.Event:
    """Returns an event that the first signal sets; the second signal ends the process by default."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


async def _drain(
    registry: ModelRegistry,
    http: _HttpServer | None,
    calls: grpc.aio.Server | None,
    serving: list[asyncio.Task[None]],
) -> None:
    """Ends both servers after they have answered the requests in flight."""
    registry.draining = True
    log_event("draining", seconds=registry.config.drain_delay)
    await asyncio.sleep(registry.config.drain_delay)
    if http:
        http.should_exit = True
    if calls:
        await calls.stop(registry.config.drain_timeout)
    await asyncio.gather(*serving)


def _http_server(registry: ModelRegistry, metrics: Metrics) -> _HttpServer:
    config = uvicorn.Config(
        http_app(registry, metrics),
        http=protocol_with(registry.config.limits, registry.config.batching.timeout),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(registry.config.drain_timeout)),
    )
    return _HttpServer(config)


def _bind(config: ServerConfig, port: int | None) -> socket.socket:
    """Returns a listening socket; binding it here makes a port in use a clear error."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only if a socket declares TCP; with it on, each answer waits 40 ms
    # for the client's acknowledgement of its header.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((config.host, port))
        # A bound port is still free: with SO_REUSEADDR another socket may bind it too, until one listens.
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise UserError(
            f"cannot listen on {_address(config.host, port)}: {system_reason(error)}",
            "choose another --host or --http-port",
        ) from error
    return listening


async def _grpc_server(registry: ModelRegistry, metrics: Metrics) -> tuple[grpc.aio.Server, int]:
    """Starts the gRPC server; returns it and its port."""
    config = registry.config
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", config.limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        # Otherwise two servers share a port, and each gets half of the calls.
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers((GrpcService(registry, metrics).handler(),))
    address = _address(config.host, config.grpc_port)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise UserError(
            f"cannot listen on {address}: {str(error).splitlines()[0].lower()}",
            "choose another --host or --grpc-port",
        ) from error
    await server.start()
    return server, port


def _address(host: str, port: int | None) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
