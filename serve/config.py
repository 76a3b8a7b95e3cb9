"""Configuration of a server: where it listens, how it batches, what it refuses."""

from __future__ import annotations

import dataclasses

from alexnet_fast.errors import UserError
from alexnet_fast.serve.image import SERVED, ImageLimits
from alexnet_fast.utils.ranges import check_fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes beyond which a request is refused; the first three are Triton's own.

    Args:
        body_bytes: Body of a request, also after decompression.
        json_depth: Levels of nested brackets.
        chunks: Parts of a body in chunked transfer.
        json_bytes: The JSON part of a body; parsed, "[]," takes 20 times its length in memory.
        in_flight_bytes: Bodies of all requests together.
        images: Which images are decoded.
    """

    body_bytes: int = 64 << 20
    json_depth: int = 100
    chunks: int = 65_536
    json_bytes: int = 16 << 20
    in_flight_bytes: int = 512 << 20
    images: ImageLimits = SERVED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batching:
    """How requests are joined into batches.

    Args:
        max_batch_size: Most images per call of the model, and per request.
        max_queue_delay: Seconds that a request may wait for others while the model is idle. With 0, only
            requests that arrive while the model is busy are joined.
        max_queue_size: Images that may wait; more are refused.
        timeout: Seconds that a request may take if it sets no timeout of its own.
    """

    max_batch_size: int = 16
    max_queue_delay: float = 0.0
    max_queue_size: int = 128
    timeout: float = 30.0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.max_queue_size < self.max_batch_size:
            raise UserError(
                f"--max-queue-size {self.max_queue_size} is too small",
                f"give {self.max_batch_size} or more",
                exit_code=2,
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Configuration of a server without its models.

    Args:
        host: Address to listen on.
        http_port: 0 for any free port; None for no HTTP.
        grpc_port: See `http_port`; None for no gRPC.
        batching: See `Batching`.
        limits: See `Limits`.
        device: See `runtime.open.open_backend`, also for the next two.
        threads: CPU threads per call of a model.
        allow_fallback: Whether the CPU may replace an unavailable device.
        reload_interval: Seconds between checks for newer files; 0 never checks.
        drain_delay: Seconds between "not ready" and the end of listening, so that load balancers notice.
        drain_timeout: Seconds after which requests in flight are abandoned.
        page: Whether the page at / is served.
        log_requests: Whether each request is logged.
    """

    host: str = "127.0.0.1"
    http_port: int | None = 8000
    grpc_port: int | None = 8001
    batching: Batching = Batching()
    limits: Limits = Limits()
    device: str = "auto"
    threads: int | None = None
    allow_fallback: bool = False
    reload_interval: float = 2.0
    drain_delay: float = 0.0
    drain_timeout: float = 30.0
    page: bool = True
    log_requests: bool = False

    def __post_init__(self) -> None:
        if self.http_port is None and self.grpc_port is None:
            raise UserError("there is nothing to listen on", "leave --no-http or --no-grpc out", exit_code=2)
        check_fields(self)
        if self.http_port and self.http_port == self.grpc_port:
            raise UserError(
                f"--http-port and --grpc-port are both {self.http_port}",
                "give each its own, or leave one out with --no-http or --no-grpc",
                exit_code=2,
            )
