"""A clock that jumps by a day does not affect deadlines, queue, reloads and metrics."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from server_load import Load, grpc_request, metric_samples, statuses, target, until_waiting

from alexnet_fast.bench.http_load import open_loop
from alexnet_fast.serve.grpc.messages import message_class
from half_open import begun, received
from moved_clock import DAY, MovedClock
from running_server import RunningServer, running
from small_model import make_model

Evidence = Callable[..., None]
SERVICE = "/inference.GRPCInferenceService"


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> MovedClock:
    """The clock of the servers in this file."""
    return MovedClock(tmp_path_factory.mktemp("clock"))


@contextlib.contextmanager
def moved_server(clock: MovedClock, *arguments: object) -> Iterator[RunningServer]:
    """A server that reads this clock."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clock.environment.items():
            patch.setenv(name, value)
        started = running(*arguments, "--name", "small", "--threads", 1)
        server = started.__enter__()
    with contextlib.ExitStack() as stack:
        stack.push(started)
        yield server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's file."""
    return make_model(tmp_path_factory.mktemp("served") / "model.onnx")


@pytest.fixture(scope="module")
def patient(clock: MovedClock, served: Path) -> Iterator[RunningServer]:
    """A server that waits a minute for a batch of 8; its timeout is 30 seconds."""
    options = (
        "--max-queue-delay-ms",
        60_000,
        "--max-batch-size",
        8,
        "--max-queue-size",
        16,
        "--reload-interval",
        0.05,
    )
    with moved_server(clock, served, *options) as server:
        yield server


@pytest.fixture(scope="module")
def hasty(clock: MovedClock, served: Path) -> Iterator[RunningServer]:
    """A server that waits a minute for a batch; its timeout is a second."""
    options = ("--max-queue-delay-ms", 60_000, "--max-batch-size", 8, "--timeout", 1)
    with moved_server(clock, served, *options) as server:
        yield server


@pytest.fixture(params=[pytest.param(-DAY, id="back"), pytest.param(DAY, id="ahead")])
def jump(request: pytest.FixtureRequest, clock: MovedClock) -> Iterator[Callable[[], None]]:
    """Returns a function that moves the clock by a day."""
    clock.set(0)
    yield lambda: clock.set(request.param)
    clock.set(0)


def fill(server: RunningServer, pixels: np.ndarray, images: int) -> None:
    """Sends the missing images of a batch, so that all of it is answered."""
    asked = target(server, pixels[np.arange(images) % len(pixels)])
    assert statuses(asyncio.run(open_loop(asked, 1000, 0.001))) == {200: 1}


def test_waiting_requests_survive_a_clock_jump(
    patient: RunningServer, pixels: np.ndarray, jump: Callable[[], None], evidence: Evidence
) -> None:
    """Requests over HTTP, gRPC and a gRPC stream, each with its own timeout; then the batch is full."""
    limited = target(patient, pixels[:2], timeout=30_000_000)
    with grpc.insecure_channel(patient.grpc) as channel:
        waiting = Load(lambda: asyncio.run(open_loop(limited, 1000, 0.001)))
        single = channel.unary_unary(f"{SERVICE}/ModelInfer").future(grpc_request(pixels[0]), timeout=30)
        stream = channel.stream_stream(f"{SERVICE}/ModelStreamInfer")
        answers = stream(iter([grpc_request(pixels[1])] * 2), timeout=30)
        until_waiting(patient, 4)
        jump()
        # Meanwhile the event loop wakes up repeatedly, and reads the new time.
        for _ in range(20):
            until_waiting(patient, 4)
        fill(patient, pixels, 4)
        assert statuses(waiting.join()) == {200: 1}
        assert single.result()
        said = [message_class("ModelStreamInferResponse").FromString(next(answers)).error_message]
        # The stream's second request came after the jump.
        until_waiting(patient, 1)
        fill(patient, pixels, 7)
        said.append(message_class("ModelStreamInferResponse").FromString(next(answers)).error_message)
    assert said == ["", ""]
    evidence("requests that wait while the clock jumps a day", n=4, answered=4)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_timeout_ends_on_time_after_a_clock_jump(
    patient: RunningServer, pixels: np.ndarray, jump: Callable[[], None], protocol: str
) -> None:
    """Two seconds, which by the clock are a day."""
    if protocol == "http":
        limited = target(patient, pixels[0], timeout=2_000_000)
        waiting = Load(lambda: asyncio.run(open_loop(limited, 1000, 0.001)))
        until_waiting(patient, 1)
        jump()
        assert statuses(waiting.join()) == {504: 1}
    else:
        with grpc.insecure_channel(patient.grpc) as channel:
            asked = channel.unary_unary(f"{SERVICE}/ModelInfer").future(grpc_request(pixels[0]), timeout=2)
            until_waiting(patient, 1)
            jump()
            assert asked.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    until_waiting(patient, 0)


@pytest.mark.parametrize("kind", ["header", "body"])
def test_a_slow_client_is_ended_on_time_after_a_clock_jump(
    hasty: RunningServer, jump: Callable[[], None], kind: str
) -> None:
    with begun(hasty.http, kind) as client:
        jump()
        assert received(client).startswith(b"HTTP/1.1 408 Request Timeout")


def test_a_client_in_time_is_not_ended_by_a_clock_jump(
    patient: RunningServer, jump: Callable[[], None]
) -> None:
    host, _, port = patient.http.partition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost:")
        patient.call("GET", "/v2/health/live")
        jump()
        # The server has run its event loop and checked its timers.
        patient.call("GET", "/v2/health/live")
        client.sendall(b" a\r\nConnection: close\r\n\r\n")
        assert received(client).startswith(b"HTTP/1.1 200")


def test_a_replaced_file_is_loaded_whatever_its_time_stamp(
    patient: RunningServer, served: Path, jump: Callable[[], None], evidence: Evidence
) -> None:
    """Its time stamp may be a day older than that of the previous file."""
    before = len([event for event in patient.events if event["event"] == "reloaded"])
    moved = served.stat().st_mtime
    for seed, seconds in ((2, -DAY), (3, DAY), (4, 0)):
        jump()
        made = make_model(served.with_name("made.onnx"), seed=seed)
        os.utime(made, (moved + seconds, moved + seconds))
        made.replace(served)
        before += 1
        patient.wait_for("reloaded", count=before)
    time.sleep(0.3)
    assert len([event for event in patient.events if event["event"] == "reloaded"]) == before
    assert all(event["event"] != "reload refused" for event in patient.events)
    evidence("newer model files whose time is a day older or ahead", n=3, taken=3, taken_twice=0)


def test_metrics_stay_plausible_after_a_clock_jump(
    patient: RunningServer, pixels: np.ndarray, jump: Callable[[], None]
) -> None:
    jump()
    fill(patient, pixels, 8)
    samples = metric_samples(patient)
    assert min(sample.value for sample in samples) >= 0
    lasted = [sample.value for sample in samples if sample.name.endswith("seconds_sum")]
    assert len(lasted) > 2
    assert max(lasted) < DAY / 24
    statistics = patient.json("GET", "/v2/models/small/stats")[1]["model_stats"][0]
    assert 0 < statistics["inference_stats"]["success"]["ns"] < DAY / 24 * 1e9
    # The only wall-clock time among them shows that the clock did jump.
    assert abs(abs(statistics["last_inference"] / 1000 - time.time()) - DAY) < DAY / 24


def test_shutdown_answers_waiting_requests_after_a_clock_jump(
    clock: MovedClock, served: Path, pixels: np.ndarray, jump: Callable[[], None]
) -> None:
    """Waiting requests are answered, not abandoned."""
    options = ("--max-queue-delay-ms", 1000, "--max-batch-size", 8, "--drain-delay", 0.1)
    with moved_server(clock, served, *options) as server:
        asked = target(server, pixels[0])
        waiting = Load(lambda: asyncio.run(open_loop(asked, 1000, 0.001)))
        until_waiting(server, 1)
        server.process.terminate()
        jump()
        assert statuses(waiting.join()) == {200: 1}
        assert server.process.wait(timeout=60) == 0
