"""The body of a request, never longer than allowed, as it came or after it was decompressed."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from alexnet_fast.serve.errors import RequestError, malformed, too_large
from alexnet_fast.serve.http.hang_up import cancelled_by_hang_up, hung_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from alexnet_fast.serve.config import Limits

# zlib's window sizes that stand for a gzip header and a zlib header.
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class BodyReader:
    """Reads bodies, and counts what all of them hold together.

    Args:
        limits: See `Limits`.
        timeout: Seconds that a client may take to send one.
    """

    def __init__(self, limits: Limits, timeout: float) -> None:
        self._limits = limits
        self._timeout = timeout
        self._in_flight = 0

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Gives the body of a request, decompressed, and counts its bytes until it is let go.

        What is done with it is cancelled once the client hangs up.

        Raises:
            RequestError: It is too large, comes too slowly or not to its end, is compressed in an unknown way
                or badly, or there is no memory for it now.
        """
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding != "identity" and encoding not in _WINDOW:
            raise RequestError(
                415, f"the content encoding {encoding[:40]!r} is unknown, give gzip or deflate"
            )
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._limits.body_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        try:
            await self._receive_in_time(request, parts)
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            if encoding != "identity":
                body = await asyncio.to_thread(self._decompress, body, encoding)
            async with cancelled_by_hang_up(request):
                yield body
        finally:
            self._in_flight -= sum(map(len, parts))

    async def _receive_in_time(self, request: Request, parts: list[bytes]) -> None:
        try:
            await asyncio.wait_for(self._receive(request, parts), self._timeout)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise RequestError(408, f"the body did not come within {self._timeout:g} s") from error
        except ClientDisconnect as error:
            raise hung_up() from error

    async def _receive(self, request: Request, parts: list[bytes]) -> None:
        """Collects the parts of a body."""
        size = 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            self._in_flight += len(part)
            if size > self._limits.body_bytes:
                raise self._too_large()
            if self._in_flight > self._limits.in_flight_bytes:
                raise RequestError(503, "too many large requests at once", retry_after=1)

    def _decompress(self, body: bytes, encoding: str) -> bytes:
        """Inflates a body, and stops at the limit."""
        stream = zlib.decompressobj(_WINDOW[encoding])
        try:
            plain = stream.decompress(body, self._limits.body_bytes + 1)
        except zlib.error as error:
            raise malformed(f"the body is not {encoding} ({error})") from error
        if len(plain) > self._limits.body_bytes:
            raise self._too_large()
        if not stream.eof:
            raise malformed(f"the {encoding} body is cut off")
        if stream.unused_data:
            raise malformed(f"{len(stream.unused_data)} bytes follow the {encoding} body")
        return plain

    def _too_large(self) -> RequestError:
        return too_large(f"the body has more than {self._limits.body_bytes} bytes")
