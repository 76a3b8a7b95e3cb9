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


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request.

    Nothing is parsed but the length of an answer: the machine that asks is often the one that answers, and
    what the asking costs is missing there.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._came = bytearray()
        self._answer: asyncio.Future[tuple[int, bool]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is called once the connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collects an answer."""
        self._came += data
        if self._answer is None or self._answer.done():
            return
        try:
            answer = _whole_answer(self._came)
        except UserError as error:
            self._answer.set_exception(error)
            return
        if answer is not None:
            self._came.clear()
            self._answer.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        """Lets the request know that nothing comes any more."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> tuple[int, bool]:
        """Sends a request; returns the answer's status, and whether the connection goes on.

        Raises:
            OSError: The connection broke.
            UserError: The server does not say how long its answer is.
        """
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Ends it."""
        if self._transport is not None:
            self._transport.close()


class _Connections:
    """Connections that are kept between requests."""

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
        """Ends them."""
        for connection in self._idle:
            connection.close()


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
    asking = []
    for at in map(float, np.cumsum(gaps)):
        await asyncio.sleep(max(0.0, at - (time.perf_counter() - start)))
        asking.append(asyncio.create_task(connections.ask(at, start)))
    outcomes = await asyncio.gather(*asking)
    connections.close()
    return list(outcomes)


def percentile_ms(outcomes: Sequence[Outcome], percent: float) -> float:
    """Returns a percentile of the latencies in milliseconds; 0 where there are none."""
    return float(np.percentile([one.seconds * 1000 for one in outcomes], percent)) if outcomes else 0.0


def _whole_answer(came: bytearray) -> tuple[int, bool] | None:
    """Returns the status of an answer and whether the connection goes on; None while a part is missing.

    Raises:
        UserError: The server does not say how long its answer is.
    """
    end = came.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(came[: end + 2]).lower()
    length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head)
    if length is None:
        raise UserError("the server answers without a Content-Length", "ask a V2 inference path")
    if len(came) < end + 4 + int(length[1]):
        return None
    return int(head.split(b" ", 2)[1]), b"\r\nconnection: close" not in head
