"""Runs a page of the documentation: commands and Python in order, in one folder, as a reader would."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent

# Reads one block a line, runs it in the namespace of those before it, and answers with a line.
_PYTHON = """
import json, sys, traceback
namespace = {"__name__": "__main__"}
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    try:
        exec(compile(*json.loads(line), "exec"), namespace)
        print(json.dumps(None), file=answers, flush=True)
    except BaseException:
        print(json.dumps(traceback.format_exc()), file=answers, flush=True)
"""


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        port: int = some.getsockname()[1]
        return port


class PageSession:
    """A folder, a shell in it, a Python that remembers, and the servers that the page has started.

    Args:
        directory: Where it runs; holds bin/alexnet-fast.
    """

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self._python: subprocess.Popen[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        # The page's first server, which its clients speak to.
        self._http, self._grpc = free_port(), free_port()

    def run(self, command: str) -> str:
        """Runs one command; a server goes on beside what follows it.

        Returns:
            What it printed.
        """
        if command.startswith("alexnet-fast serve ") and "--triton" not in command:
            self._serve(command)
            return ""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._here(command)],
            cwd=self._dir, env=self._environment(self._http, self._grpc), text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def python(self, code: str, name: str) -> None:
        """Runs a block behind those before it."""
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", _PYTHON],
                cwd=self._dir, env=self._environment(self._http, self._grpc), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        assert self._python.stdin
        assert self._python.stdout
        self._python.stdin.write(json.dumps([self._here(code), name]) + "\n")
        self._python.stdin.flush()
        problem = json.loads(self._python.stdout.readline() or '"Python ended"')
        assert problem is None, problem

    def close(self) -> None:
        """Ends Python and the server; the server must end as it should."""
        if self._python is not None:
            self._python.communicate(timeout=60)
        if self._server is not None:
            _stop(self._server)

    def _here(self, text: str) -> str:
        """Puts the ports of this session in the place of those that the page names."""
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self._http}").replace(
            "127.0.0.1:8001", f"127.0.0.1:{self._grpc}"
        )

    def _serve(self, command: str) -> None:
        """Starts a server and waits until it answers; a second one is ended at once."""
        first = self._server is None
        http, grpc = (self._http, self._grpc) if first else (free_port(), free_port())
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self._dir, env=self._environment(http, grpc)
        )
        _wait_until_ready(server, http)
        if first:
            self._server = server
        else:
            _stop(server)

    def _environment(self, http: int, grpc: int) -> dict[str, str]:
        path = os.pathsep.join((str(self._dir / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
        ports = {"HTTP_PORT": str(http), "GRPC_PORT": str(grpc)}
        return {**os.environ, **ports, "PATH": path, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "2"}


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(600):
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    server.kill()
    raise AssertionError("the server is not ready after a minute")


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=60) == 0


@contextmanager
def page_session(directory: Path) -> Iterator[PageSession]:
    """Runs a page, and ends what it started."""
    session = PageSession(directory)
    try:
        yield session
    finally:
        session.close()
