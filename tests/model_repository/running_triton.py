"""A real Triton on this machine, from nvidia-pytriton, with its Python backend."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.http

ROOT = Path(__file__).parents[2]
# `make triton` creates this environment, because Triton's Python backend returns empty arrays with numpy 2.
ENVIRONMENT = ROOT / ".venv" / "triton"


class RunningTriton:
    """A process and its addresses."""

    def __init__(self, repository: Path, directory: Path) -> None:
        packages = ENVIRONMENT / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        server = packages / "pytriton" / "tritonserver"
        if not server.is_dir():
            pytest.skip("needs a Triton: make triton")
        http, grpc, metrics = free_ports(3)
        self.http, self.grpc, self.metrics = (f"127.0.0.1:{port}" for port in (http, grpc, metrics))
        self.log = directory / "triton.log"
        words: list[str | Path] = [server / "bin" / "tritonserver", "--model-repository", repository]
        words += ["--backend-directory", backends(server, directory)]
        for what, port in (("http", http), ("grpc", grpc), ("metrics", metrics)):
            words += [f"--{what}-port", str(port), f"--{what}-address", "127.0.0.1"]
        library = Path(sys.base_prefix) / "lib"
        environment = {
            **os.environ,
            "LD_LIBRARY_PATH": f"{library}:{packages / 'nvidia_pytriton.libs'}",
            # Triton's Python uses the environment of the first interpreter on PATH.
            "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)

    def wait_until_ready(self) -> None:
        """Returns once the models are loaded; fails with the log if they cannot be."""
        end = time.monotonic() + 60
        with tritonclient.http.InferenceServerClient(self.http) as client:
            while self.process.poll() is None and time.monotonic() < end:
                # Triton does not listen yet.
                with contextlib.suppress(OSError):
                    if client.is_server_ready():
                        return
                time.sleep(0.1)
        raise AssertionError(self.log.read_text(errors="replace")[-4000:])

    def stop(self) -> int:
        """Ends the process and returns its exit code."""
        self.process.terminate()
        return self.process.wait(30)


def backends(server: Path, directory: Path) -> Path:
    """Combines the Python backend with the stub for this version of Python."""
    python = directory / "backends" / "python"
    python.mkdir(parents=True)
    version = f"3.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    for file in (*(server / "backends" / "python").iterdir(), stub):
        (python / file.name).symlink_to(file)
    return python.parent


def free_ports(count: int) -> list[int]:
    """Returns free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(repository: Path, directory: Path) -> Iterator[RunningTriton]:
    """Runs Triton for a block."""
    triton = RunningTriton(repository, directory)
    try:
        yield triton
    finally:
        triton.stop()
