"""HTTP/1.1 itself: what is no HTTP is answered with JSON too, chunks are counted, slow clients are let go."""

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
    """An HTTP connection with an end to headers and chunks, that remembers what was wrong.

    Attributes:
        problem: The last mistake of the client.
        status: The HTTP status that fits it.
    """

    def __init__(self, max_chunks: int) -> None:
        super().__init__(h11.SERVER, _HEADER_BYTES)
        self._max_chunks = max_chunks
        self._chunks = 0
        self._head: list[bytes] = []
        self.problem, self.status = "", 400

    def send_with_data_passthrough(self, event: Any) -> list[bytes] | None:
        """Returns what to write; see h11.

        The head of an answer waits for its body: two writes are two calls of the system, and wake the client
        twice.
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
        """Returns what came next; see h11.

        Raises:
            h11.RemoteProtocolError: It is no HTTP, or beyond a limit.
        """
        try:
            event = super().next_event()
            self._check(event)
            if isinstance(event, h11.Request):
                return _in_origin_form(event)
        except h11.RemoteProtocolError as error:
            # h11 hints at 501 for a transfer coding that it does not know; it is the client's mistake.
            self.problem = str(error)
            self.status = 400 if error.error_status_hint >= 500 else error.error_status_hint
            raise
        return event

    def _check(self, event: Any) -> None:
        """Counts header bytes and chunks; h11 looks at the header's length only while it is incomplete."""
        if isinstance(event, h11.Request):
            self._chunks = 0
            size = len(event.target) + sum(len(name) + len(value) for name, value in event.headers)
            if size > _HEADER_BYTES:
                raise h11.RemoteProtocolError(f"the header has more than {_HEADER_BYTES} bytes", 431)
        elif isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > self._max_chunks:
                raise h11.RemoteProtocolError(f"the body has more than {self._max_chunks} chunks", 413)


# scheme://authority, which a client that takes us for a proxy writes before the path (RFC 9112, 3.2.2).
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


class _Term:
    """A time by which something must have happened.

    Args:
        seconds: From its start.
        over: Called when it is over.
    """

    def __init__(self, seconds: float, over: Callable[[], object]) -> None:
        self._seconds, self._over = seconds, over
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins, unless it has begun."""
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._over)

    def stop(self) -> None:
        """Ends, if it has begun."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Protocol(H11Protocol):
    """uvicorn's protocol, but errors are JSON and say what is wrong, and nobody is waited for for ever.

    Attributes:
        max_chunks: See `Limits.chunks`.
        patience: Seconds that a client may take to send a header, or to take what is written to it.
    """

    max_chunks: ClassVar[int]
    patience: ClassVar[float]

    conn: _StrictConnection

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _StrictConnection(self.max_chunks)
        self._sending_due = _Term(self.patience, self._disconnect_slow_sender)
        self._reading_due = _Term(self.patience, self._drop)

    def connection_made(self, transport: Any) -> None:
        """Lets a connection on which nothing comes go as one on which nothing comes any more."""
        super().connection_made(transport)
        # Whatever waits for the client gets a term: a closed connection stays until all of it is taken.
        transport.set_write_buffer_limits(high=0)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        """Takes what came, and sets a term for what must follow."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Ends a request, and sets a term for the rest of a body that was answered before its end."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Sets a term for the client to take what waits for it."""
        super().pause_writing()
        self._reading_due.start(self.loop)

    def resume_writing(self) -> None:
        """Takes the term back."""
        self._reading_due.stop()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends what waits for the client."""
        self._sending_due.stop()
        self._reading_due.stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP, unless an answer is already on its way."""
        del msg
        if self.cycle is not None and not self.cycle.response_complete:
            # The application is still at it; it learns that the client is gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            problem = f"this is not valid HTTP/1.1: {self.conn.problem}"
            self.transport.write(_refusal(self.conn, self.conn.status, problem))
        self.transport.close()

    def _watch(self) -> None:
        """Sets a term while a client owes us the rest of something that no request waits for."""
        theirs = self.conn.their_state
        answered = theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE
        if answered or (theirs is h11.IDLE and self.conn.trailing_data[0]):
            self._sending_due.start(self.loop)
        else:
            self._sending_due.stop()

    def _disconnect_slow_sender(self) -> None:
        """Ends a connection whose client does not send in time; half a header is answered."""
        if not self.transport.is_closing() and self.conn.our_state is h11.IDLE:
            problem = f"the header did not come within {self.patience:g} s"
            self.transport.write(_refusal(self.conn, http.HTTPStatus.REQUEST_TIMEOUT, problem))
        self.transport.close()

    def _drop(self) -> None:
        """Ends a connection whose client does not read."""
        self.transport.abort()


def protocol_with(limits: Limits, timeout: float) -> type[H11Protocol]:
    """Returns the class that uvicorn makes one object of for each connection.

    Args:
        limits: See `Limits`.
        timeout: Seconds that a client may take to send a header, or to take what is written to it.
    """

    class Protocol(_Protocol):
        """With these limits."""

        max_chunks, patience = limits.chunks, timeout

    return Protocol


def _refusal(connection: _StrictConnection, status: int, problem: str) -> bytes:
    """Returns an answer that ends the connection."""
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
