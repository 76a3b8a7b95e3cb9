"""A headless Chromium, controlled over its DevTools socket (standard library only)."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Socket:
    """The client side of a WebSocket (RFC 6455), reduced to the needs of DevTools."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self._socket = socket.create_connection((host, port), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._file = self._socket.makefile("rb")
        while self._file.readline().strip():
            pass

    def send(self, text: str) -> None:
        """Sends one masked text frame."""
        data, mask = text.encode(), os.urandom(4)
        length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
        if len(data) > 65_535:
            length = b"\xff" + struct.pack(">Q", len(data))
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self._socket.sendall(b"\x81" + length + mask + masked)

    def receive(self) -> str:
        """Returns the next message."""
        whole = b""
        while True:
            first, second = self._file.read(2)
            length = second & 0x7F
            if length > 125:
                length = int.from_bytes(self._file.read(2 if length == 126 else 8), "big")
            whole += self._file.read(length)
            if first & 0x80:
                return whole.decode()

    def close(self) -> None:
        """Ends the connection."""
        self._file.close()
        self._socket.close()


class Tab:
    """One page of a browser.

    Attributes:
        requested: Every address that the page asked for.
        complaints: Errors in its scripts, and what the browser said of it.
    """

    def __init__(self, channel: Socket) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self.requested: list[str] = []
        self.complaints: list[str] = []
        for domain in ("Page", "Network", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result."""
        number = next(self._numbers)
        self._channel.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._channel.receive())
            if message.get("id") == number:
                assert "error" not in message, message
                found: dict[str, Any] = message["result"]
                return found
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        if message.get("method") == "Network.requestWillBeSent":
            self.requested.append(message["params"]["request"]["url"])
        elif message.get("method") == "Runtime.exceptionThrown" or (
            message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error"
        ):
            self.complaints.append(json.dumps(message["params"]))

    def open(self, url: str, *, width: int, height: int) -> None:
        """Opens a page in a window of a size in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def until(self, expression: str, seconds: float = 30) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"{expression} did not come true: {self.complaints}"
            time.sleep(0.02)

    def choose_file(self, selector: str, file: Path) -> None:
        """Chooses a file in an input, as a visitor does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self, file: Path) -> None:
        """Writes a PNG of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))


@contextlib.contextmanager
def browser_tab() -> Iterator[Tab]:
    """Starts a browser with one page, and ends it."""
    assert CHROMIUM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--remote-debugging-port=0",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            channel = Socket("127.0.0.1", *_page_of(Path(profile), process))
            yield Tab(channel)
            channel.close()
        finally:
            process.terminate()
            process.wait(timeout=20)


def _page_of(profile: Path, process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Waits for the browser and returns the port and the path of its first page."""
    said = profile / "DevToolsActivePort"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "the browser ended"
        if said.exists() and len(said.read_text().splitlines()) == 2:
            port = int(said.read_text().splitlines()[0])
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/json/list")
            pages = [page for page in json.loads(connection.getresponse().read()) if page["type"] == "page"]
            connection.close()
            if pages:
                return port, pages[0]["webSocketDebuggerUrl"].split(str(port), 1)[1]
        time.sleep(0.05)
    raise AssertionError("the browser did not open a page")
