"""Request bodies: limits, decompression, forms, and clients that disconnect."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import email.message
import email.parser
import email.policy
import zlib
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from alexnet_fast.serve.errors import RequestError, malformed, too_large

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from alexnet_fast.serve.config import Limits

# nginx's status for a client that disconnected; nobody is there to read it.
CLIENT_GONE = 499
# Boundaries have at most 70 characters (RFC 2046, section 5.1.1).
_MAX_BOUNDARY = 70
# The header of a part holds its name, the name of its file and its type.
_MAX_HEADER_BYTES = 8192
# zlib's window sizes that select a gzip header and a zlib header.
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def client_disconnected() -> RequestError:
    """Returns the error of a request whose client disconnected."""
    return RequestError(CLIENT_GONE, "the client disconnected")


@contextlib.asynccontextmanager
async def cancelled_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Cancels the work of a request when its client disconnects.

    Args:
        request: Its body has been read, so that only the end of the connection can follow (ASGI).

    Raises:
        RequestError: The client disconnected.
    """
    task = asyncio.current_task()
    assert task
    left = gone = False

    def cancel(watch: asyncio.Future[Any]) -> None:
        nonlocal gone
        if not left and not watch.cancelled() and watch.result()["type"] == "http.disconnect":
            gone = True
            task.cancel()

    watch = asyncio.ensure_future(request.receive())
    watch.add_done_callback(cancel)
    try:
        yield
    except asyncio.CancelledError as error:
        # The end of the server cancels too.
        if gone:
            raise client_disconnected() from error
        raise
    finally:
        left = True
        watch.cancel()


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """An uploaded image.

    Args:
        name: Name of the file, if the sender gives one.
        content: Bytes of the file.
    """

    name: str | None
    content: bytes


# Written by hand: Starlette's form parser needs another package, python-multipart.
def uploaded_files(body: bytes, content_type: str) -> list[UploadedFile]:
    """Returns the images in a body.

    Args:
        body: The body.
        content_type: Its type; everything but multipart/form-data is read as an image.

    Raises:
        RequestError: There is no image, or the form is damaged.
    """
    header = email.message.Message()
    header["content-type"] = content_type.replace("\n", " ").replace("\r", " ")
    if header.get_content_type() != "multipart/form-data":
        if not body:
            raise malformed("the body is empty, send an image")
        return [UploadedFile(name=None, content=body)]
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= _MAX_BOUNDARY or not boundary.isascii():
        raise malformed("multipart/form-data needs a boundary of 1 to 70 ASCII characters")
    files = [file for part in _parts(body, boundary.encode()) if (file := _file(part))]
    if not files:
        raise malformed("the form has no file, send one as a part with a filename")
    return files


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """Splits a form at its boundaries."""
    start, *rest = (b"\r\n" + body).split(b"\r\n--" + boundary)
    del start  # the preamble, which MIME readers ignore
    if not rest or not rest[-1].startswith(b"--"):
        raise malformed("the form does not end with its boundary")
    for part in rest[:-1]:
        if not part.startswith(b"\r\n"):
            raise malformed("the form is damaged: a line that begins like its boundary goes on")
    return [part[2:] for part in rest[:-1]]


def _file(part: bytes) -> UploadedFile | None:
    """Returns the file in a part; None if the part is a plain field."""
    head, separator, content = part.partition(b"\r\n\r\n")
    if not separator or len(head) > _MAX_HEADER_BYTES:
        raise malformed("a part of the form has no header, or one that is too long")
    header = email.parser.BytesHeaderParser(policy=email.policy.HTTP).parsebytes(head + b"\r\n\r\n")
    name = header.get_filename()
    if name is None:
        return None
    if not content:
        raise malformed(f"the file {name[:100]!r} is empty")
    return UploadedFile(name=name, content=content)


class BodyReader:
    """Reads bodies, and counts the bytes of all bodies in flight.

    Args:
        limits: See `Limits`.
        timeout: Seconds that a client may take to send a body.
    """

    def __init__(self, limits: Limits, timeout: float) -> None:
        self._limits = limits
        self._timeout = timeout
        self._in_flight = 0

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the decompressed body of a request, and counts its bytes until the block ends.

        The block is cancelled when the client disconnects.

        Raises:
            RequestError: The body is too large, too slow or incomplete, its compression is unknown or
                damaged, or too many bytes are in flight.
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
            async with cancelled_on_disconnect(request):
                yield body
        finally:
            self._in_flight -= sum(map(len, parts))

    async def _receive_in_time(self, request: Request, parts: list[bytes]) -> None:
        try:
            await asyncio.wait_for(self._receive(request, parts), self._timeout)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise RequestError(408, f"the body did not come within {self._timeout:g} s") from error
        except ClientDisconnect as error:
            raise client_disconnected() from error

    async def _receive(self, request: Request, parts: list[bytes]) -> None:
        """Collects the parts of a body as they arrive."""
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
        """Decompresses a body, and stops at the limit."""
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
