"""The addresses on which a server listens, and the forms of URL that it answers."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.serve import server as serving
from alexnet_fast.serve.config import ServerConfig
from alexnet_fast.serve.models import ModelRegistry
from running_server import RunningServer


def test_one_port_for_both_protocols_is_refused() -> None:
    with pytest.raises(UserError, match="--http-port and --grpc-port are both 8000; give each its own"):
        ServerConfig(http_port=8000, grpc_port=8000)


@pytest.mark.parametrize(("http_port", "grpc_port"), [(0, 0), (8000, None), (None, 8000)])
def test_port_zero_and_a_single_protocol_are_accepted(http_port: int | None, grpc_port: int | None) -> None:
    ServerConfig(http_port=http_port, grpc_port=grpc_port)


def test_the_http_port_is_in_use_as_soon_as_it_is_bound() -> None:
    """Before the application is up; otherwise gRPC or another server could bind it meanwhile."""
    listening = serving._bind(ServerConfig(), 0)
    with listening, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(listening.getsockname())


@pytest.mark.parametrize("when", ["at its start", "while it runs"])
def test_an_http_server_that_ends_by_itself_ends_the_process(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The process does not wait for it, and reports its error."""

    async def broken(self: serving._HttpServer, sockets: object) -> None:
        self.started = when == "while it runs"
        raise RuntimeError("no HTTP any more")

    monkeypatch.setattr(serving._HttpServer, "serve", broken)
    registry = ModelRegistry({"small": model_file}, ServerConfig(http_port=0, grpc_port=0))
    with pytest.raises(RuntimeError, match="no HTTP any more"):
        serving.run_server(registry)


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/v2/health/ready"])
def test_health_paths_of_platforms_are_answered(server: RunningServer, path: str) -> None:
    assert server.json("GET", path) == (200, {"ready": True})
    assert server.call("HEAD", path)[0] == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v2/health/live", 200),
        ("http://127.0.0.1/v2/health/live", 200),
        ("http://127.0.0.1:8000/v2/health/live", 200),
        ("HTTP://elsewhere.example/v2/health/live?a=http://b", 200),
        ("https://user@elsewhere.example/v2/health/live", 200),
        ("http://[::1]:8000/v2/health/live", 200),
        ("http://127.0.0.1", 200),
        ("http://127.0.0.1?top=1", 200),
        ("http://127.0.0.1/nothing", 404),
        ("ftp://127.0.0.1/v2/health/live", 404),
        ("http:/v2/health/live", 404),
    ],
)
def test_an_absolute_url_is_answered_like_its_path(server: RunningServer, target: str, status: int) -> None:
    """RFC 9112, section 3.2.2."""
    answer = ask(server, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert int(answer.split()[1]) == status, answer[:200]


def test_a_request_with_an_absolute_url_may_have_a_body(server: RunningServer, jpegs: list[bytes]) -> None:
    head = "POST http://a/predict?top=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    answer = ask(server, f"{head}Content-Length: {len(jpegs[0])}\r\n\r\n".encode() + jpegs[0])
    head_end = answer.index(b"\r\n\r\n")
    assert len(json.loads(answer[head_end:])["predictions"][0]["classes"]) == 1


def ask(server: RunningServer, request: bytes) -> bytes:
    """Sends bytes and returns the whole answer."""
    host, _, port = server.http.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65_536), b""))
