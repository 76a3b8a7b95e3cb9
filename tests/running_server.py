"""`alexnet-fast serve` in a process of its own, for tests."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PROGRAM = ("-m", "alexnet_fast")


class RunningServer:
    """A server that listens on free ports of this machine.

    Attributes:
        process: Its process.
        events: What it logged, newest last.
        stray: Lines of its log that are no events, once it was ready.
        http: Host and port.
        grpc: Host and port.
    """

    def __init__(self, *arguments: object, program: Sequence[str] = PROGRAM) -> None:
        words = ["serve", *map(str, arguments), "--http-port", "0", "--grpc-port", "0"]
        self.process = subprocess.Popen(
            [sys.executable, *program, *words],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self.stray: list[str] = []
        self._lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        ready = self.wait_for("ready")
        self.http = ready["http"].removeprefix("http://")
        self.grpc = ready["grpc"]

    def _read(self) -> None:
        for line in self.process.stderr:
            self._lines.append(line)
            if line.startswith("{"):
                self.events.append(json.loads(line))
            elif self.events:
                self.stray.append(line)

    def wait_for(self, event: str, count: int = 1, seconds: float = 60) -> dict[str, Any]:
        """Waits until the server has logged an event `count` times, and returns the last one."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = [one for one in self.events if one["event"] == event]
            if len(found) >= count:
                return found[count - 1]
            assert self.process.poll() is None, "".join(self._lines)
            time.sleep(0.01)
        raise AssertionError(f"no {event!r} within {seconds} s:\n" + "".join(self._lines))

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Sends one request on a connection of its own; returns status, headers and body."""
        connection = http.client.HTTPConnection(self.http, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def json(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Sends one request and parses the answer."""
        status, _, content = self.call(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        return status, json.loads(content)

    def resident_bytes(self) -> int:
        """Memory of the server's process."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def processor_seconds(self) -> float:
        """Processor time that the server has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """Ends the server as an orchestrator does; returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(timeout=60)


@contextlib.contextmanager
def running(*arguments: object, program: Sequence[str] = PROGRAM) -> Iterator[RunningServer]:
    """Runs a server for a block; "program" is what Python is given to start it."""
    server = RunningServer(*arguments, program=program)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
