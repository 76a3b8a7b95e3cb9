"""Clients that begin and do not go on: slow headers, slow bodies, answers that nobody reads."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

_POST = b"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\n"
PAGE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
# What each kind sends at once; then the first two send a byte a second, and the third reads nothing.
KINDS = {
    "header": _POST + b"X-Slow: ",
    "body": _POST + b"Content-Length: 1000000\r\n\r\n{",
    "reading": PAGE * 400,
}


def begun(address: str, kind: str, content: bytes = b"") -> socket.socket:
    """Opens one connection and begins, with what its kind sends or with other bytes."""
    host, _, port = address.partition(":")
    client = socket.socket()
    # Small, so that answers pile up in the server and not in the kernel.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    client.sendall(content or KINDS[kind])
    client.setblocking(False)
    return client


def received(client: socket.socket) -> bytes:
    """Everything until the server ends the connection."""
    client.settimeout(20)
    parts: list[bytes] = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65_536):
            parts.append(part)
    return b"".join(parts)


class HalfOpen:
    """Keeps so many connections half open, as many of each kind; those that the server ends are begun anew.

    Attributes:
        begun: How many were begun.
    """

    def __init__(self, address: str, connections: int) -> None:
        kinds = list(KINDS)
        self._address, self.begun = address, 0
        self._kinds = [kinds[number % len(kinds)] for number in range(connections)]
        self._clients = [self._begin(kind) for kind in self._kinds]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def _begin(self, kind: str) -> socket.socket:
        self.begun += 1
        return begun(self._address, kind)

    def _drip(self) -> None:
        while not self._over.wait(1):
            for place, kind in enumerate(self._kinds):
                try:
                    if kind != "reading":
                        self._clients[place].send(b"a")
                    elif self._clients[place].send(b"GET") == 0:
                        continue
                except BlockingIOError:
                    continue
                except OSError:
                    self._clients[place].close()
                    self._clients[place] = self._begin(kind)

    def close(self) -> None:
        """Ends all of them."""
        self._over.set()
        self._thread.join()
        for client in self._clients:
            client.close()


@contextlib.contextmanager
def half_open(address: str, connections: int) -> Iterator[HalfOpen]:
    """Keeps connections half open for a block."""
    held = HalfOpen(address, connections)
    try:
        yield held
    finally:
        held.close()
