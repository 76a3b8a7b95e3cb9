"""The queue of a server: deadlines, a full queue, whole batches, and clients that disconnect."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from server_load import Load, grpc_request, metric, statuses, target, until_waiting

from alexnet_fast.bench.http_load import open_loop
from running_server import RunningServer, running


@pytest.fixture
def slow(model_file: Path) -> RunningServer:
    """A server that waits long for full batches, and lets 4 images wait."""
    options = ("--max-queue-delay-ms", 400, "--max-batch-size", 4, "--max-queue-size", 4)
    with running(model_file, "--name", "small", *options) as server:
        yield server


def test_a_request_beyond_its_deadline_gets_504(slow: RunningServer, pixels: np.ndarray) -> None:
    (outcome,) = asyncio.run(open_loop(target(slow, pixels[0], timeout=20_000), 1000, 0.001))
    assert outcome.status == 504
    with grpc.insecure_channel(slow.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        asked = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        asked(grpc_request(pixels[0], timeout=20_000), timeout=20)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() == "the deadline passed"
    # Abandoned requests neither count as waiting nor are classified.
    _, statistics = slow.json("GET", "/v2/models/small/stats")
    assert statistics["model_stats"][0]["inference_stats"]["fail"]["count"] == 2
    (outcome,) = asyncio.run(open_loop(target(slow, pixels[0]), 1000, 0.001))
    assert outcome.status == 200
    assert slow.json("GET", "/v2/models/small/stats")[1]["model_stats"][0]["inference_count"] == 1


@pytest.fixture(scope="module")
def patient(model_file: Path) -> Iterator[RunningServer]:
    """A server that waits a minute for a batch of 8, so that requests wait until the test fills the batch."""
    options = ("--max-queue-delay-ms", 60_000, "--max-batch-size", 8, "--max-queue-size", 8)
    with running(model_file, "--name", "small", *options) as server:
        yield server


def _classified(server: RunningServer) -> int:
    """Returns the number of classified images."""
    return server.json("GET", "/v2/models/small/stats")[1]["model_stats"][0]["inference_count"]


def _fill_a_batch(server: RunningServer, pixels: np.ndarray) -> None:
    """Sends eight images, a full batch, which does not wait."""
    before = _classified(server)
    asked = target(server, pixels[np.arange(8) % 5])
    assert statuses(asyncio.run(open_loop(asked, 1000, 0.001))) == {200: 1}
    assert _classified(server) == before + 8


def test_a_full_queue_refuses_requests_with_retry_after(patient: RunningServer, pixels: np.ndarray) -> None:
    # Six images wait for two more; meanwhile there is no room for three.
    first = Load(lambda: asyncio.run(open_loop(target(patient, pixels[np.arange(6) % 5]), 1000, 0.001)))
    until_waiting(patient, 6)
    asked = target(patient, pixels[:3])
    outcomes = asyncio.run(open_loop(asked, 50, 0.5))
    assert statuses(outcomes) == {503: len(outcomes)}
    status, headers, text = patient.call("POST", asked.path, asked.body, dict(asked.headers))
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert "the queue is full: 6 images wait, at most 8 may" in json.loads(text)["error"]
    # Refused requests did not enter the queue: the first ones still wait.
    until_waiting(patient, 6)
    assert statuses(asyncio.run(open_loop(target(patient, pixels[:2]), 1000, 0.001))) == {200: 1}
    assert statuses(first.join()) == {200: 1}
    # Afterwards there is room again.
    _fill_a_batch(patient, pixels)


def test_a_request_that_does_not_fit_into_a_batch_waits_for_the_next(
    model_file: Path, pixels: np.ndarray
) -> None:
    """A batch never exceeds its maximum, and no request is split."""
    options = ("--max-queue-delay-ms", 60_000, "--max-batch-size", 8, "--max-queue-size", 64)
    with running(model_file, "--name", "small", *options) as server:
        three, five = target(server, pixels[:3]), target(server, pixels)
        loads = []
        # The third request makes nine images: six are classified, and three wait for five more.
        for waiting in (3, 6, 3):
            loads.append(Load(lambda: asyncio.run(open_loop(three, 1000, 0.001))))
            until_waiting(server, waiting)
        # The first two were answered first; the third still waits.
        assert [statuses(load.join()) for load in loads[:2]] == [{200: 1}] * 2
        until_waiting(server, 3)
        assert statuses(asyncio.run(open_loop(five, 1000, 0.001))) == {200: 1}
        assert statuses(loads[2].join()) == {200: 1}
        _, found = server.json("GET", "/v2/models/small/stats")
    batches = found["model_stats"][0]["batch_stats"]
    sizes = {batch["batch_size"]: batch["compute_infer"]["count"] for batch in batches}
    assert sizes == {6: 1, 8: 1}


# The larger body exceeds what the server reads ahead.
@pytest.mark.parametrize("count", [1, 6])
def test_a_disconnected_client_leaves_the_queue_unclassified(
    patient: RunningServer, pixels: np.ndarray, count: int
) -> None:
    asked = target(patient, pixels[np.arange(count) % 5])
    with socket.create_connection((asked.host, asked.port)) as connection:
        connection.sendall(asked.request())
        until_waiting(patient, count)
    until_waiting(patient, 0)
    _fill_a_batch(patient, pixels)


def test_a_client_that_disconnects_within_a_body_causes_no_error(
    patient: RunningServer, pixels: np.ndarray
) -> None:
    asked = target(patient, pixels[0])
    with socket.create_connection((asked.host, asked.port)) as connection:
        connection.sendall(asked.request()[:-100])
    _fill_a_batch(patient, pixels)
    assert metric(patient, "requests_total", protocol="http", status="499") >= 1
    assert [event for event in patient.events if event["event"] == "internal error"] == []
    assert patient.stray == []


@pytest.mark.parametrize("call", ["ModelInfer", "ModelStreamInfer"])
def test_a_cancelled_call_leaves_the_queue_unclassified(
    patient: RunningServer, pixels: np.ndarray, call: str
) -> None:
    content, path = grpc_request(pixels[0]), f"/inference.GRPCInferenceService/{call}"
    with grpc.insecure_channel(patient.grpc) as channel:
        if call == "ModelInfer":
            waiting = channel.unary_unary(path).future(content)
        else:
            waiting = channel.stream_stream(path)(iter([content]))
        until_waiting(patient, 1)
        waiting.cancel()
        until_waiting(patient, 0)
    _fill_a_batch(patient, pixels)
