"""What a server is told: where it listens, how it batches, what it refuses."""

from __future__ import annotations

import dataclasses

from alexnet_fast.errors import UserError
from alexnet_fast.serve.image import SERVED, ImageLimits
from alexnet_fast.utils.ranges import check_fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Sizes beyond which a request is refused; the first three are Triton's own.

    Args:
        body_bytes: Body of a request, also after it was decompressed.
        json_depth: Brackets within brackets.
        chunks: Parts of a body in chunked transfer.
        json_bytes: The JSON part of a body; parsed, "[]," takes 20 times its length in memory.
        in_flight_bytes: Bodies of all requests together.
        images: What is decoded.
    """

    body_bytes: int = 64 << 20
    json_depth: int = 100
    chunks: int = 65_536
    json_bytes: int = 16 << 20
    in_flight_bytes: int = 512 << 20
    images: ImageLimits = SERVED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batching:
    """How requests are put together.

    Args:
        max_batch_size: Images in one call of the model, and the most that one request may hold.
        max_queue_delay: Seconds a request may wait for others while the model is idle. With 0, requests are
            joined that arrive while the model is busy.
        max_queue_size: Images that may wait; more are refused.
        timeout: Seconds that a request may take where it does not say so itself.
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
    """Everything about a server but its models.

    Args:
        host: Address to listen on.
        http_port: 0 for any free port; None for no HTTP.
        grpc_port: As `http_port`.
        batching: See `Batching`.
        limits: See `Limits`.
        device: As for `backend.open_backend`.
        threads: As for `backend.open_backend`.
        allow_fallback: As for `backend.open_backend`.
        reload_interval: Seconds between two looks at the files; 0 never looks again.
        drain_delay: Seconds between "not ready" and the end of listening, for load balancers to notice.
        drain_timeout: Seconds after which requests in flight are given up.
        page: Whether the page at / is offered.
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
