"""HTTP/1.1: JSON answers to invalid HTTP, a limit of chunks, deadlines for slow clients.

Written by hand on top of uvicorn's h11 protocol, which has no limit of chunks and no deadline for a client
that sends or reads slowly.
"""

from __future__ import annotations

import http
import json
import re
from typing import TYPE_CHECKING, Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from alexnet_fast.serve.config import Limits

# Request line and headers together; uvicorn's own limit is the same.
_HEADER_BYTES = 64 << 10


class _StrictConnection(h11.Connection):
    """An HTTP connection that limits headers and chunks, and records what was wrong.

    Attributes:
        problem: The last error of the client.
        status: Its HTTP status.
    """

    def __init__(self, max_chunks: int) -> None:
        super().__init__(h11.SERVER, _HEADER_BYTES)
        self._max_chunks = max_chunks
        self._chunks = 0
        self._head: list[bytes] = []
        self.problem, self.status = "", 400

    def send_with_data_passthrough(self, event: Any) -> list[bytes] | None:
        """Returns the bytes to write; see h11.

        The head of an answer is held back until its body follows: two writes are two system calls, and wake
        the client twice.
        """
        parts = super().send_with_data_passthrough(event)
        if isinstance(event, h11.Response):
            self._head = parts or []
            return []
        if parts is None:
            return None
        head, self._head = self._head, []
        return head + parts

    def next_event(self) -> Any:
        """Returns the next event; see h11.

        Raises:
            h11.RemoteProtocolError: The bytes are not valid HTTP, or exceed a limit.
        """
        try:
            event = super().next_event()
            self._check(event)
            if isinstance(event, h11.Request):
                return _in_origin_form(event)
        except h11.RemoteProtocolError as error:
            # h11 suggests 501 for an unknown transfer coding, which is the client's error.
            self.problem = str(error)
            self.status = 400 if error.error_status_hint >= 500 else error.error_status_hint
            raise
        return event

    def _check(self, event: Any) -> None:
        """Counts header bytes and chunks; h11 checks the length of a header only while it is incomplete."""
        if isinstance(event, h11.Request):
            self._chunks = 0
            size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
            if size > _HEADER_BYTES:
                raise h11.RemoteProtocolError(f"the header has more than {_HEADER_BYTES} bytes", 431)
        elif isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > self._max_chunks:
                raise h11.RemoteProtocolError(f"the body has more than {self._max_chunks} chunks", 413)


# scheme://authority, which clients of a proxy write before the path (RFC 9112, 3.2.2).
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


def _in_origin_form(request: h11.Request) -> h11.Request:
    """Returns a request whose target is a path; servers must accept both forms (RFC 9112, 3.2.2)."""
    absolute = _ABSOLUTE.match(request.target)
    if absolute is None:
        return request
    path = request.target[absolute.end() :]
    return h11.Request(
        method=request.method,
        target=path if path.startswith(b"/") else b"/" + path,
        headers=request.headers.raw_items(),
        http_version=request.http_version,
    )


class _Deadline:
    """A timer for something that a client must do in time.

    Args:
        seconds: From its start.
        on_timeout: Called when they are over.
    """

    def __init__(self, seconds: float, on_timeout: Callable[[], object]) -> None:
        self._seconds, self._on_timeout = seconds, on_timeout
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Starts the timer, unless it runs."""
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._on_timeout)

    def stop(self) -> None:
        """Stops the timer, if it runs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Protocol(H11Protocol):
    """uvicorn's protocol with JSON errors that name the problem, and deadlines for clients.

    Attributes:
        max_chunks: See `Limits.chunks`.
        client_timeout: Seconds that a client may take to send a header, or to read what is written to it.
    """

    max_chunks: ClassVar[int]
    client_timeout: ClassVar[float]

    conn: _StrictConnection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _StrictConnection(self.max_chunks)
        self._send_deadline = _Deadline(self.client_timeout, self._disconnect_slow_sender)
        self._read_deadline = _Deadline(self.client_timeout, self._drop)

    def connection_made(self, transport: Any) -> None:
        """Closes a connection on which nothing arrives, like one on which nothing arrives any more."""
        super().connection_made(transport)
        # Every write that waits for the client gets a deadline: a closed connection stays until all is read.
        transport.set_write_buffer_limits(high=0)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Handles received bytes, and sets a deadline for what must follow."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Ends a request, and sets a deadline for the rest of a body that was answered before its end."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Sets a deadline for the client to read what waits for it."""
        super().pause_writing()
        self._read_deadline.start(self.loop)

    def resume_writing(self) -> None:
        """Removes the deadline."""
        self._read_deadline.stop()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the timers."""
        self._send_deadline.stop()
        self._read_deadline.stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers invalid HTTP, unless an answer is already on its way."""
        del msg
        if self.cycle is not None and not self.cycle.response_complete:
            # The application still works on it; tell it that the client is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            problem = f"this is not valid HTTP/1.1: {self.conn.problem}"
            self.transport.write(_refusal(self.conn, self.conn.status, problem))
        self.transport.close()

    def _watch(self) -> None:
        """Sets a deadline while a client owes the rest of something that no request waits for."""
        theirs = self.conn.their_state
        answered = theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if answered or (theirs is h11.IDLE and self.conn.trailing_data[0]):
            self._send_deadline.start(self.loop)
        else:
            self._send_deadline.stop()

    def _disconnect_slow_sender(self) -> None:
        """Closes a connection whose client is late; answers half a header."""
        if not self.transport.is_closing() and self.conn.our_state is h11.IDLE:
            problem = f"the header did not come within {self.client_timeout:g} s"
            self.transport.write(_refusal(self.conn, http.HTTPStatus.REQUEST_TIMEOUT, problem))
        self.transport.close()

    def _drop(self) -> None:
        """Closes a connection whose client does not read."""
        self.transport.abort()


def protocol_with(limits: Limits, timeout: float) -> type[H11Protocol]:
    """Returns the class of which uvicorn creates an object per connection.

    Args:
        limits: See `Limits`.
        timeout: Seconds that a client may take to send a header, or to read what is written to it.
    """

    class Protocol(_Protocol):
        """With these limits."""

        max_chunks, client_timeout = limits.chunks, timeout

    return Protocol


def _refusal(connection: _StrictConnection, status: int, problem: str) -> bytes:
    """Returns the bytes of an answer that closes the connection."""
    body = json.dumps({"error": problem}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    phrase = http.HTTPStatus(status).phrase.encode()
    answer = h11.Response(status_code=int(status), headers=headers, reason=phrase)
    return b"".join(
        connection.send(event) or b"" for event in (answer, h11.Data(data=body), h11.EndOfMessage())
    )
