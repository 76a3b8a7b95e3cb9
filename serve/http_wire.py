"""HTTP/1.1 itself: what is no HTTP is answered with JSON too, and chunks are counted."""

from __future__ import annotations

import http
import json
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from alexnet_fast.serve.server_config import Limits

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


def protocol_with(limits: Limits) -> type[H11Protocol]:
    """Returns the class that uvicorn makes one object of for each connection."""

    class Protocol(H11Protocol):
        """uvicorn's protocol, but errors are JSON and say what is wrong."""

        conn: _StrictConnection

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.conn = _StrictConnection(limits.chunks)

        def send_400_response(self, msg: str) -> None:
            """Answers what is no HTTP, unless an answer is already on its way."""
            del msg
            if self.cycle is not None and not self.cycle.response_complete:
                # The application is still at it; it learns that the client is gone.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.write(_refusal(self.conn))
            self.transport.close()

    return Protocol


def _refusal(connection: _StrictConnection) -> bytes:
    """Returns an answer that ends the connection."""
    body = json.dumps({"error": f"this is not valid HTTP/1.1: {connection.problem}"}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    phrase = http.HTTPStatus(connection.status).phrase.encode()
    answer = h11.Response(status_code=connection.status, headers=headers, reason=phrase)
    return b"".join(
        connection.send(event) or b"" for event in (answer, h11.Data(data=body), h11.EndOfMessage())
    )
