"""HTTP/1.1 itself: what is no HTTP is answered with JSON too, and chunks are counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from alexnet_fast.serve.server_config import Limits

# Request line and headers together; uvicorn's own limit is the same.
_HEADER_BYTES = 64 << 10


class _CountingConnection(h11.Connection):
    """An HTTP connection that ends a body of too many chunks."""

    def __init__(self, max_chunks: int) -> None:
        super().__init__(h11.SERVER, _HEADER_BYTES)
        self._max_chunks = max_chunks
        self._chunks = 0

    def next_event(self) -> Any:
        """Returns what came next; see h11.

        Raises:
            h11.RemoteProtocolError: It is no HTTP, or one chunk too many.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = 0
        elif isinstance(event, h11.Data) and event.chunk_start:
            self._chunks += 1
            if self._chunks > self._max_chunks:
                raise h11.RemoteProtocolError(f"more than {self._max_chunks} chunks", 413)
        return event


def protocol_with(limits: Limits) -> type[H11Protocol]:
    """Returns the class that uvicorn makes one object of for each connection."""

    class Protocol(H11Protocol):
        """uvicorn's protocol, but errors are JSON."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.conn = _CountingConnection(limits.chunks)

        def send_400_response(self, msg: str) -> None:
            """Answers what is no HTTP, unless an answer is already on its way."""
            del msg
            if self.cycle is not None and not self.cycle.response_complete:
                # The application is still at it; it learns that the client is gone.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                body = json.dumps({"error": "the request is not valid HTTP/1.1"}).encode()
                headers = [
                    (b"content-type", b"application/json"),
                    (b"content-length", str(len(body)).encode()),
                    (b"connection", b"close"),
                ]
                for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), _END):
                    self.transport.write(self.conn.send(event))
            self.transport.close()

    return Protocol


_END = h11.EndOfMessage()
