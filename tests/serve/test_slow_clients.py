"""Clients that send slowly or do not read: the server closes them, and others are not affected."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from server_load import metric, statuses, target

from alexnet_fast.bench.http_load import Outcome, closed_loop, percentile_ms
from half_open import KINDS, PAGE, begun, half_open, received
from running_server import RunningServer, running

CLIENTS, TURNS, SECONDS = 4, 5, 6.0


@pytest.fixture(scope="module")
def hasty(model_file: Path) -> Iterator[RunningServer]:
    """A server with a timeout of a second."""
    with running(model_file, "--name", "small", "--threads", 1, "--timeout", 1) as server:
        yield server


def open_files(server: RunningServer) -> set[str]:
    """Returns the open files and connections of a server by descriptor."""
    found = set()
    for entry in Path(f"/proc/{server.process.pid}/fd").iterdir():
        # A missing descriptor was closed meanwhile.
        with contextlib.suppress(FileNotFoundError):
            found.add(f"{entry.name} {entry.readlink()}")
    return found


@pytest.mark.parametrize("kind", ["header", "body"])
def test_a_late_header_or_body_is_answered_with_408(hasty: RunningServer, kind: str) -> None:
    with begun(hasty.http, kind) as client:
        head, _, body = received(client).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout")
    assert json.loads(body) == {"error": f"the {kind} did not come within 1 s"}


def test_slow_single_bytes_do_not_extend_the_deadline(hasty: RunningServer) -> None:
    """The deadline of a header starts with its first byte, and later bytes do not move it."""
    with begun(hasty.http, "header") as client:
        client.settimeout(20)
        started, answer = time.monotonic(), b""
        while not answer:
            assert time.monotonic() - started < 20
            time.sleep(0.2)
            with contextlib.suppress(BlockingIOError):
                client.setblocking(False)
                client.send(b"a")
                answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_second_request_on_a_connection_has_a_deadline_too(hasty: RunningServer) -> None:
    host, _, port = hasty.http.partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /v2/hea")
        answers = received(client)
    assert answers.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answers


def test_connections_of_clients_that_do_not_read_are_closed(hasty: RunningServer) -> None:
    """Nothing of them stays: neither the connection nor the answers written to it.

    They ask for the end of the connection. Of some all answers are in the kernel's buffers by then, of some a
    few bytes are not, and of some most are not.
    """
    before = open_files(hasty)
    last = PAGE.replace(b"Host", b"Connection: close\r\nHost")
    clients = [begun(hasty.http, "reading", PAGE * times + last) for times in range(300, 480, 8)]
    until = time.monotonic() + 60
    while open_files(hasty) == before:
        assert time.monotonic() < until
        time.sleep(0.01)
    while held := open_files(hasty) - before:
        assert time.monotonic() < until, f"the server holds {held}"
        time.sleep(0.05)
    for client in clients:
        client.close()


def test_a_client_that_disconnects_while_sending_is_counted_as_499(hasty: RunningServer) -> None:
    """The status is 499, as in nginx, and the log has no error."""
    with begun(hasty.http, "body") as client:
        time.sleep(0.1)
        client.shutdown(socket.SHUT_RDWR)
    until = time.monotonic() + 20
    while not metric(hasty, "requests_total", protocol="http", status="499"):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert not metric(hasty, "requests_total", status="500")
    assert [event for event in hasty.events if event.get("level") == "error"] == []


def asked_beside(server: RunningServer, pixels: np.ndarray, seconds: float) -> list[Outcome]:
    """Returns the outcomes of well-behaved clients."""
    return asyncio.run(closed_loop(target(server, pixels[0]), CLIENTS, seconds))


def test_other_clients_are_answered_beside_slow_ones(hasty: RunningServer, pixels: np.ndarray) -> None:
    with half_open(hasty.http, 4 * len(KINDS)) as held:
        while held.begun <= 4 * len(KINDS):
            assert statuses(asked_beside(hasty, pixels, 0.2)).keys() == {200}
    assert statuses(asked_beside(hasty, pixels, 0.2)).keys() == {200}


def wait_until_idle(server: RunningServer) -> None:
    """Waits until the requests of all clients, also of slow ones, are answered as far as possible."""
    before, until = server.processor_seconds(), time.monotonic() + 20
    while time.monotonic() < until:
        time.sleep(0.5)
        now = server.processor_seconds()
        if now - before < 0.05:
            return
        before = now
    raise AssertionError("the server is never idle")


@pytest.mark.soak
def test_200_half_open_connections_do_not_slow_other_clients(
    model_file: Path, pixels: np.ndarray, evidence: Callable[..., None]
) -> None:
    """Turns with and without them in one server; the ratio of the median p99 of the turns."""
    with running(model_file, "--name", "small", "--threads", 1) as server:
        asked_beside(server, pixels, SECONDS)
        alone, beside, requests = [], [], 0
        for _ in range(TURNS):
            outcomes = asked_beside(server, pixels, SECONDS)
            alone.append(percentile_ms(outcomes, 99))
            with half_open(server.http, 200):
                wait_until_idle(server)
                others = asked_beside(server, pixels, SECONDS)
            beside.append(percentile_ms(others, 99))
            requests += len(outcomes) + len(others)
            assert statuses(outcomes).keys() == statuses(others).keys() == {200}
        ratio = statistics.median(beside) / statistics.median(alone)
    evidence(
        "p99 of others beside 200 half-open connections",
        n=200,
        turns=TURNS,
        requests=requests,
        alone_ms=[round(one, 2) for one in alone],
        beside_ms=[round(one, 2) for one in beside],
        ratio=round(ratio, 3),
    )
    assert ratio < 1.2
