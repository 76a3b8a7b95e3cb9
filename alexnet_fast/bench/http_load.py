"""A load generator for HTTP: so many requests at once (closed loop), or so many a second (open loop).

In an open loop a request is sent when its time has come, whether or not earlier ones are answered, and its
latency counts from that time: a server that stalls is charged for everybody who would have waited.
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
_CONNECTION_ERRORS = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """What is asked, again and again.

    Args:
        host: Address of the server.
        port: Its port.
        path: Of the request.
        body: Of the request.
        headers: Of the request, besides host and length.
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
    """What became of one request.

    Args:
        status: HTTP status; 0 where the connection broke before there was one.
        at: Seconds from the start of the load to the time when it was due.
        seconds: From that time to the end of its answer.
    """

    status: int
    at: float
    seconds: float


class _Connections:
    """Connections that are kept between requests."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._request = target.request()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, at: float, start: float) -> Outcome:
        """Sends one request, due `at` seconds after `start`."""
        try:
            reader, writer = await self._connection()
            writer.write(self._request)
            await writer.drain()
            status, keep = await _read_answer(reader)
            if keep:
                self._idle.append((reader, writer))
            else:
                writer.close()
        except _CONNECTION_ERRORS:
            status = _CLOSED
        return Outcome(status=status, at=at, seconds=time.perf_counter() - start - at)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._idle:
            return self._idle.pop()
        return await asyncio.open_connection(self._target.host, self._target.port)

    def close(self) -> None:
        """Ends them."""
        for _, writer in self._idle:
            writer.close()


async def closed_loop(
    target: Target, concurrency: int, seconds: float, until: Callable[[], bool] = lambda: False
) -> list[Outcome]:
    """Keeps requests going; each client asks again once it is answered.

    Args:
        target: What is asked.
        concurrency: Clients.
        seconds: After which no more requests are sent.
        until: No more requests are sent once it is true.
    """
    connections = _Connections(target)
    start = time.perf_counter()

    async def client() -> list[Outcome]:
        found: list[Outcome] = []
        while (now := time.perf_counter() - start) < seconds and not until():
            found.append(await connections.ask(now, start))
            if found[-1].status == _CLOSED:
                await asyncio.sleep(0.01)
        return found

    outcomes = await asyncio.gather(*(client() for _ in range(concurrency)))
    connections.close()
    return [outcome for found in outcomes for outcome in found]


async def open_loop(target: Target, rate: float, seconds: float, seed: int = 0) -> list[Outcome]:
    """Sends `rate` requests a second for some seconds, at random times (a Poisson process)."""
    connections = _Connections(target)
    gaps = np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds))
    start = time.perf_counter()

    async def one(at: float) -> Outcome:
        await asyncio.sleep(at - (time.perf_counter() - start))
        return await connections.ask(at, start)

    outcomes = await asyncio.gather(*(one(float(at)) for at in np.cumsum(gaps)))
    connections.close()
    return list(outcomes)


def percentile_ms(outcomes: Sequence[Outcome], percent: float) -> float:
    """Returns a percentile of the latencies in milliseconds; 0 where there are none."""
    return float(np.percentile([one.seconds * 1000 for one in outcomes], percent)) if outcomes else 0.0


async def _read_answer(reader: asyncio.StreamReader) -> tuple[int, bool]:
    """Reads one answer; returns its status and whether the connection goes on.

    Raises:
        UserError: The server does not say how long its answer is.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head)
    if length is None:
        raise UserError("the server answers without a Content-Length", "ask a V2 inference path")
    await reader.readexactly(int(length[1]))
    return int(head.split(b" ", 2)[1]), b"\r\nconnection: close" not in head
