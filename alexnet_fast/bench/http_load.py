"""A load generator for HTTP: concurrent requests (closed loop), or requests per second (open loop).

In an open loop a request is sent when it is due, even if earlier ones are not answered, and its latency
counts from that time: the delay of a stalled server counts for every request that would have waited.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_CLOSED = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """The server and the request.

    Args:
        host: Address of the server.
        port: Port of the server.
        path: Path of the request.
        body: Body of the request.
        headers: Headers of the request, besides host and length.
    """

    host: str
    port: int
    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    def request(self) -> bytes:
        """Returns the bytes of the request."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one request.

    Args:
        status: HTTP status; 0 if the connection broke before.
        at: Seconds from the start of the load to the time when the request was due.
        seconds: Seconds from that time to the end of the response.
    """

    status: int
    at: float
    seconds: float


class _Connection(asyncio.Protocol):
    """One connection: a request, its response, the next request.

    Written by hand, since it parses only the length of a response: client and server often share a machine,
    and a full client would take processor time from the server.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._answer: asyncio.Future[tuple[int, bool]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport of the new connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collects a response."""
        self._received += data
        if self._answer is None or self._answer.done():
            return
        try:
            answer = _complete_response(self._received)
        except UserError as error:
            self._answer.set_exception(error)
            return
        if answer is not None:
            self._received.clear()
            self._answer.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        """Ends the waiting request."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bool]:
        """Sends a request; returns the response's status, and whether the connection stays open.

        Raises:
            OSError: The connection broke.
            UserError: The response has no Content-Length.
        """
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Closes the connection."""
        if self._transport is not None:
            self._transport.close()


class _Connections:
    """A pool of connections."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._request = target.request()
        self._idle: list[_Connection] = []

    async def ask(self, at: float, start: float) -> Outcome:
        """Sends one request, due `at` seconds after `start`."""
        try:
            connection = await self._connection()
            status, keep = await connection.ask(self._request)
            if keep:
                self._idle.append(connection)
            else:
                connection.close()
        except OSError:
            status = _CLOSED
        return Outcome(status=status, at=at, seconds=time.perf_counter() - start - at)

    async def _connection(self) -> _Connection:
        while self._idle:
            if (connection := self._idle.pop()).usable:
                return connection
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(_Connection, self._target.host, self._target.port)
        return made

    def close(self) -> None:
        """Closes all connections."""
        for connection in self._idle:
            connection.close()


async def closed_loop(
    target: Target, concurrency: int, seconds: float, until: Callable[[], bool] = lambda: False
) -> list[Outcome]:
    """Sends requests from concurrent clients, each the next one after its response.

    Args:
        target: The server and the request.
        concurrency: Number of clients.
        seconds: Duration; no requests are sent afterwards.
        until: No more requests are sent once it returns True.
    """
    connections = _Connections(target)
    start = time.perf_counter()

    async def client() -> list[Outcome]:
        outcomes: list[Outcome] = []
        while (now := time.perf_counter() - start) < seconds and not until():
            outcomes.append(await connections.ask(now, start))
            if outcomes[-1].status == _CLOSED:
                await asyncio.sleep(0.01)
        return outcomes

    per_client = await asyncio.gather(*(client() for _ in range(concurrency)))
    connections.close()
    return [outcome for outcomes in per_client for outcome in outcomes]


async def open_loop(target: Target, rate: float, seconds: float, seed: int = 0) -> list[Outcome]:
    """Sends `rate` requests per second for some seconds, at random times (a Poisson process)."""
    connections = _Connections(target)
    gaps = np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds))
    start = time.perf_counter()
    asking = []
    for at in map(float, np.cumsum(gaps)):
        await asyncio.sleep(max(0.0, at - (time.perf_counter() - start)))
        asking.append(asyncio.create_task(connections.ask(at, start)))
    outcomes = await asyncio.gather(*asking)
    connections.close()
    return list(outcomes)


def percentile_ms(outcomes: Sequence[Outcome], percent: float) -> float:
    """Returns a percentile of the latencies in milliseconds; 0 without outcomes."""
    return float(np.percentile([each.seconds * 1000 for each in outcomes], percent)) if outcomes else 0.0


def _complete_response(received: bytearray) -> tuple[int, bool] | None:
    """Returns the status of a response and whether the connection stays open; None if it is incomplete.

    Raises:
        UserError: The response has no Content-Length.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(received[: end + 2]).lower()
    length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head)
    if length is None:
        raise UserError("the server's response has no Content-Length", "ask a V2 inference path")
    if len(received) < end + 4 + int(length[1]):
        return None
    return int(head.split(b" ", 2)[1]), b"\r\nconnection: close" not in head
