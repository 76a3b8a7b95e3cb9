"""What hypothesis makes of requests: the server answers or closes, never with 5xx, and lives.

The fast tests take a few hundred of each kind; `make soak-fuzz` goes on for FUZZ_SECONDS, 600 by default.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import time
from collections import Counter
from collections.abc import Callable

import hypothesis
import pytest
from fuzzed import binary_tensors, wires
from malformed_bodies import INFER

from alexnet_fast.serve.config import Limits
from alexnet_fast.serve.errors import RequestError
from alexnet_fast.serve.v2.http_codec import parse_request
from running_server import RunningServer

_FAST, _ROUND = 120, 300
# Seconds; an answer takes some two milliseconds.
_PATIENCE = 0.1
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ", re.MULTILINE)
Test = Callable[..., None]


def repeated(strategy: hypothesis.strategies.SearchStrategy, check: Test, examples: int, seed: int) -> None:
    """Runs a check on so many examples; the seed decides which."""
    config = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        # A soak is for finding; what it finds is made small by the run that looks at it.
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    )

    @hypothesis.seed(seed)
    @config
    @hypothesis.given(strategy)
    def run(example: object) -> None:
        check(example)

    run()


def answers(server: RunningServer, content: bytes) -> list[int]:
    """Sends bytes, says that no more come, and returns the statuses of all answers."""
    host, _, port = server.http.partition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        # The server may answer and close before it has everything.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(content)
            if b"\r\n\r\n" in content:
                # Whoever says too early that no more comes is taken for one who went away.
                select.select([connection], [], [], _PATIENCE)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                received += part
    return [int(status) for status in _STATUS.findall(received)]


def check_wire(server: RunningServer, seen: Counter[int]) -> Test:
    """Returns the check of bytes on the wire; "seen" counts the answers by status."""

    def check(content: bytes) -> None:
        found = answers(server, content)
        seen.update(found)
        assert all(status < 500 for status in found), found

    return check


def check_tensor(server: RunningServer, seen: Counter[int]) -> Test:
    """Returns the check of a binary tensor in a request that is otherwise right."""

    def check(both: tuple[bytes, bytes]) -> None:
        length, body = both
        # A header's value cannot hold these; the other check sends them.
        length = re.sub(rb"[^\x21-\x7e]", b"", length) or b"0"
        status = server.call("POST", INFER, body, {"Inference-Header-Content-Length": length.decode()})[0]
        seen[status] += 1
        assert status in (200, 400), status

    return check


def parsed(both: tuple[bytes, bytes]) -> None:
    """The parser alone: a request, or a refusal that says why."""
    length, body = both
    refused: RequestError | None = None
    try:
        parse_request("small", None, body, length.decode("latin-1"), Limits())
    except RequestError as error:
        refused = error
    assert refused is None or (refused.status in (400, 413) and refused.reason)


def check_alive(server: RunningServer) -> None:
    """The server answers, and has met no mistake of its own."""
    assert server.json("GET", "/v2/health/live") == (200, {"live": True})
    broken = [event for event in server.events if event.get("level") == "error"]
    assert not broken, (len(broken), broken[0].get("traceback", broken[0]))


def test_no_bytes_on_the_wire_make_the_server_fail(server: RunningServer) -> None:
    seen: Counter[int] = Counter()
    repeated(wires(), check_wire(server, seen), _FAST, seed=0)
    check_alive(server)
    assert {200, 400} <= set(seen)


def test_no_binary_tensor_makes_the_server_fail(server: RunningServer) -> None:
    seen: Counter[int] = Counter()
    repeated(binary_tensors(), check_tensor(server, seen), _FAST, seed=0)
    check_alive(server)
    assert set(seen) == {200, 400}


def test_the_parser_answers_or_refuses_with_a_reason(server: RunningServer) -> None:
    repeated(binary_tensors(), parsed, _FAST, seed=0)


@pytest.mark.soak
def test_ten_minutes_of_fuzzing_make_the_server_fail_nowhere(
    server: RunningServer, evidence: Callable[..., None]
) -> None:
    """Round by round, the wire and tensors in turns, each with a seed of its own."""
    seconds = float(os.environ.get("FUZZ_SECONDS", "600"))
    started, round_, seen = time.monotonic(), 0, Counter()
    while time.monotonic() - started < seconds:
        round_ += 1
        repeated(wires(), check_wire(server, seen), _ROUND, seed=round_)
        repeated(binary_tensors(), check_tensor(server, seen), _ROUND, seed=round_)
        repeated(binary_tensors(), parsed, _ROUND, seed=-round_)
        check_alive(server)
    evidence(
        "fuzzed requests",
        n=3 * _ROUND * round_,
        seconds=round(time.monotonic() - started),
        answers={str(status): count for status, count in sorted(seen.items())},
        crashes=0,
        hypothesis=hypothesis.__version__,
    )
