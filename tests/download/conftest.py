"""A real https server on this machine, with a certificate of its own, and archives of real photographs."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from archives import packed_tar, packed_zip

Answer = tuple[int, dict[str, str], bytes]


class Site:
    """What the server answers, by path; the address of a path; and what was asked."""

    def __init__(self, port: int) -> None:
        self.answers: dict[str, Answer] = {}
        self.port, self.asked = port, [""][:0]

    def put(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Sets an answer; returns its address."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, {"Content-Length": str(len(body)), **named}, body)
        return self.url(path)

    def url(self, path: str) -> str:
        """Returns the address of a path."""
        return f"https://localhost:{self.port}{path}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    directory = tmp_path_factory.mktemp("certificate")
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    words = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    )
    extra = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*words.split(), *extra], cwd=directory, check=True, capture_output=True)
    return directory / "cert.pem", directory / "key.pem"


@pytest.fixture
def site(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """The server; this process trusts its certificate, and has an empty cache folder."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            status, headers, body = site.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def members(cells: dict[str, list[Path]]) -> dict[str, bytes]:
    """Name and content of 6 photographs of each of two classes, in one folder around everything."""
    return {
        f"solar/{kind}/{cell.name}": cell.read_bytes() for kind, files in cells.items() for cell in files[:6]
    }


@pytest.fixture
def tar() -> Callable[..., bytes]:
    """Packs a tar."""
    return packed_tar


@pytest.fixture
def zipped() -> Callable[[dict[str, bytes]], bytes]:
    """Packs a zip."""
    return packed_zip
