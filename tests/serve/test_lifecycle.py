"""A server under load: queue, deadlines, end without loss, newer files without a failed request."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from alexnet_fast import Predictor
from alexnet_fast.bench.http_load import Outcome, Target, closed_loop, open_loop
from alexnet_fast.serve.grpc_messages import message_class
from running_server import RunningServer, running
from small_model import SMALL, make_model

SIDE = SMALL.resize


def target(server: RunningServer, pictures: np.ndarray, model: str = "small", **parameters: int) -> Target:
    """A picture, or several, as a binary tensor."""
    pictures = pictures if pictures.ndim == 4 else pictures[None]
    tensor = {
        "name": "pictures",
        "datatype": "UINT8",
        "shape": list(pictures.shape),
        "parameters": {"binary_data_size": pictures.size},
    }
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    host, _, port = server.http.partition(":")
    return Target(
        host=host,
        port=int(port),
        path=f"/v2/models/{model}/infer",
        body=head + pictures.tobytes(),
        headers=(("Inference-Header-Content-Length", str(len(head))),),
    )


class Load:
    """Requests in a thread, beside what a test does meanwhile."""

    def __init__(self, run: Callable[[], list[Outcome]]) -> None:
        self.outcomes: list[Outcome] = []
        self._thread = threading.Thread(target=lambda: self.outcomes.extend(run()))
        self._thread.start()

    def join(self) -> list[Outcome]:
        """Waits for the end of the load."""
        self._thread.join(timeout=120)
        assert not self._thread.is_alive()
        return self.outcomes


def statuses(outcomes: list[Outcome]) -> dict[int, int]:
    """Counts outcomes by status."""
    found: dict[int, int] = {}
    for one in outcomes:
        found[one.status] = found.get(one.status, 0) + 1
    return found


@pytest.mark.parametrize(
    "rounds", [pytest.param(2, id="twice"), pytest.param(20, id="20 times", marks=pytest.mark.soak)]
)
def test_sigterm_under_load_loses_nothing(model_file: Path, pixels: np.ndarray, rounds: int) -> None:
    """Whoever is sent requests until it says that it is not ready answers all of them."""
    total = 0
    for number in range(rounds):
        # The delay keeps requests waiting all the time.
        with running(model_file, "--name", "small", "--max-delay", 30, "--drain-delay", 2) as server:
            told = threading.Event()

            def watch(server: RunningServer = server, told: threading.Event = told) -> None:
                while server.call("GET", "/v2/health/ready")[0] == 200:
                    time.sleep(0.02)
                told.set()

            asked = target(server, pixels[0])
            load = Load(lambda: asyncio.run(closed_loop(asked, 12, 20, until=told.is_set)))  # noqa: B023
            time.sleep(0.3 + 0.013 * number)
            watcher = threading.Thread(target=watch)
            watcher.start()
            server.process.terminate()
            outcomes = load.join()
            watcher.join()
            assert server.process.wait(timeout=30) == 0
            assert statuses(outcomes) == {200: len(outcomes)}
            total += len(outcomes)
            order = [event["event"] for event in server.events]
            assert order[-2:] == ["draining", "stopped"]
    print(f"{rounds} ends under load, {total} requests, none lost")


def test_ready_turns_503_before_the_server_stops_listening(model_file: Path, pixels: np.ndarray) -> None:
    with running(model_file, "--name", "small", "--drain-delay", 5) as server:
        assert "connection" not in server.call("GET", "/v2/health/live")[1]
        server.process.terminate()
        server.wait_for("draining")
        assert server.json("GET", "/v2/health/ready")[0] == 503
        assert server.json("GET", "/v2/models/small/ready")[0] == 503
        assert server.json("GET", "/v2/health/live") == (200, {"live": True})
        # Who keeps a connection is told to ask elsewhere next time.
        assert server.call("GET", "/v2/health/live")[1]["connection"] == "close"
        (outcome,) = asyncio.run(open_loop(target(server, pixels[0]), 1000, 0.001))
        assert outcome.status == 200
        assert server.process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    "rounds", [pytest.param(3, id="3 times"), pytest.param(50, id="50 times", marks=pytest.mark.soak)]
)
def test_reloads_under_load_fail_no_request(tmp_path: Path, pixels: np.ndarray, rounds: int) -> None:
    files = [make_model(tmp_path / f"seed-{seed}.onnx", seed=seed) for seed in (1, 2)]
    served = tmp_path / "model.onnx"
    shutil.copy(files[0], served)
    with running(served, "--name", "small", "--reload-interval", 0.05) as server:
        done = threading.Event()
        asked = target(server, pixels[0])
        load = Load(lambda: asyncio.run(closed_loop(asked, 6, 100, until=done.is_set)))
        for number in range(1, rounds + 1):
            shutil.copy(files[number % 2], tmp_path / "next.onnx")
            (tmp_path / "next.onnx").rename(served)
            server.wait_for("reloaded", count=number)
        done.set()
        outcomes = load.join()
        assert statuses(outcomes) == {200: len(outcomes)}
        print(f"{rounds} reloads under load, {len(outcomes)} requests, none failed")
        _, answer = server.json("POST", "/v2/models/small/infer", *_body(asked))
        assert answer["model_version"] == str(rounds + 1)
        np.testing.assert_allclose(
            answer["outputs"][0]["data"], Predictor(files[rounds % 2]).probabilities(pixels[0])[0], atol=1e-5
        )


def _body(asked: Target) -> tuple[bytes]:
    """The JSON form of a target, for a call by hand."""
    pixels = np.frombuffer(asked.body[-SIDE * SIDE * 3 :], np.uint8).tolist()
    tensor = {"name": "pictures", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3], "data": pixels}
    return (json.dumps({"inputs": [tensor]}).encode(),)


def test_a_bad_newer_file_is_refused_and_the_old_one_goes_on(tmp_path: Path, pixels: np.ndarray) -> None:
    served = make_model(tmp_path / "model.onnx")
    with running(served, "--name", "small", "--reload-interval", 0.05) as server:
        asked = target(server, pixels[0])
        for number, content in enumerate((b"", b"garbage", served.read_bytes()[:5000]), start=1):
            (tmp_path / "bad").write_bytes(content)
            (tmp_path / "bad").rename(served)
            refused = server.wait_for("reload refused", count=number)
            assert "model.onnx" in refused["reason"]
            (outcome,) = asyncio.run(open_loop(asked, 1000, 0.001))
            assert outcome.status == 200
        served.unlink()
        assert "there is no file" in server.wait_for("reload refused", count=4)["reason"]
        time.sleep(0.3)
        assert len([event for event in server.events if event["event"] == "reload refused"]) == 4
        _, index = server.json("GET", "/v2/repository/index")
        assert index[0]["version"] == "1"
        assert "there is no file" in index[0]["reason"]
        make_model(served, seed=2)
        assert server.wait_for("reloaded")["version"] == "2"
        assert server.json("GET", "/v2/repository/index")[1][0]["reason"] == ""


def test_numbered_folders_are_versions(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "9").mkdir()
    make_model(tmp_path / "9" / "model.onnx", seed=1)
    with running(tmp_path, "--name", "small", "--reload-interval", 0.05) as server:
        assert server.json("GET", "/v2/models/small")[1]["versions"] == ["9"]
        (tmp_path / "10").mkdir()
        make_model(tmp_path / "10" / "model.onnx", seed=2)
        assert server.wait_for("reloaded")["version"] == "10"
        assert server.json("GET", "/v2/models/small/versions/10/ready")[0] == 200
        assert server.json("GET", "/v2/models/small/versions/9/ready")[0] == 404


def test_several_models_in_one_server(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    files = [make_model(tmp_path / name / "model.onnx", seed=seed) for seed, name in ((1, "a"), (2, "b"))]
    with running(*files) as server:
        _, index = server.json("GET", "/v2/repository/index")
        assert [model["name"] for model in index] == ["a", "b"]
        for name, file in zip("ab", files, strict=True):
            body = _body(target(server, pixels[0]))
            _, answer = server.json("POST", f"/v2/models/{name}/infer", *body)
            np.testing.assert_allclose(
                answer["outputs"][0]["data"], Predictor(file).probabilities(pixels[0])[0], atol=1e-5
            )


@pytest.fixture
def slow(model_file: Path) -> RunningServer:
    """A server that waits long for full batches, and lets 4 pictures wait."""
    options = ("--max-delay", 400, "--max-batch", 4, "--max-queue", 4)
    with running(model_file, "--name", "small", *options) as server:
        yield server


def test_a_deadline_ends_the_waiting(slow: RunningServer, pixels: np.ndarray) -> None:
    (outcome,) = asyncio.run(open_loop(target(slow, pixels[0], timeout=20_000), 1000, 0.001))
    assert outcome.status == 504
    request = message_class("ModelInferRequest")(model_name="small", raw_input_contents=[pixels[0].tobytes()])
    request.inputs.add(name="pictures", datatype="UINT8", shape=[1, SIDE, SIDE, 3])
    request.parameters["timeout"].int64_param = 20_000
    with grpc.insecure_channel(slow.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
            request.SerializeToString(), timeout=20
        )
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() == "the deadline passed"
    # What nobody waits for is not counted as waiting, nor classified.
    _, statistics = slow.json("GET", "/v2/models/small/stats")
    assert statistics["model_stats"][0]["inference_stats"]["fail"]["count"] == 2
    (outcome,) = asyncio.run(open_loop(target(slow, pixels[0]), 1000, 0.001))
    assert outcome.status == 200
    assert slow.json("GET", "/v2/models/small/stats")[1]["model_stats"][0]["inference_count"] == 1


@pytest.fixture(scope="module")
def patient(model_file: Path) -> Iterator[RunningServer]:
    """A server that waits a minute for a batch of 8: what waits goes on waiting until the test says so."""
    options = ("--max-delay", 60_000, "--max-batch", 8, "--max-queue", 8)
    with running(model_file, "--name", "small", *options) as server:
        yield server


def _until_waiting(server: RunningServer, pictures: int) -> None:
    """Waits until so many pictures wait."""
    until = time.monotonic() + 30
    while f'queue_pictures{{model="small"}} {pictures}\n'.encode() not in server.call("GET", "/metrics")[2]:
        assert time.monotonic() < until
        time.sleep(0.01)


def _classified(server: RunningServer) -> int:
    """Returns how many pictures went through the model."""
    return server.json("GET", "/v2/models/small/stats")[1]["model_stats"][0]["inference_count"]


def _fill_a_batch(server: RunningServer, pixels: np.ndarray) -> None:
    """Eight pictures are a batch, which does not wait."""
    before = _classified(server)
    asked = target(server, pixels[np.arange(8) % 5])
    assert statuses(asyncio.run(open_loop(asked, 1000, 0.001))) == {200: 1}
    assert _classified(server) == before + 8


def test_beyond_the_queue_requests_are_refused_with_the_time_to_come_back(
    patient: RunningServer, pixels: np.ndarray
) -> None:
    # Six pictures wait for two more; meanwhile there is no room for three.
    first = Load(lambda: asyncio.run(open_loop(target(patient, pixels[np.arange(6) % 5]), 1000, 0.001)))
    _until_waiting(patient, 6)
    asked = target(patient, pixels[:3])
    outcomes = asyncio.run(open_loop(asked, 50, 0.5))
    assert statuses(outcomes) == {503: len(outcomes)}
    status, headers, text = patient.call("POST", asked.path, asked.body, dict(asked.headers))
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert "the queue is full: 6 pictures wait, at most 8 may" in json.loads(text)["error"]
    # Refusals did not wait in line: those who came first still do.
    _until_waiting(patient, 6)
    assert statuses(asyncio.run(open_loop(target(patient, pixels[:2]), 1000, 0.001))) == {200: 1}
    assert statuses(first.join()) == {200: 1}
    # Once the crowd is gone there is room again.
    _fill_a_batch(patient, pixels)


def test_a_request_that_does_not_fit_into_a_batch_waits_for_the_next(
    model_file: Path, pixels: np.ndarray
) -> None:
    """A batch is never larger than it may be, and no request is torn apart."""
    options = ("--max-delay", 60_000, "--max-batch", 8, "--max-queue", 64)
    with running(model_file, "--name", "small", *options) as server:
        three, five = target(server, pixels[:3]), target(server, pixels)
        loads = []
        # The third makes nine of them: six go, and three wait for five more.
        for waiting in (3, 6, 3):
            loads.append(Load(lambda: asyncio.run(open_loop(three, 1000, 0.001))))
            _until_waiting(server, waiting)
        # Those who came first went first; the third is still there.
        assert [statuses(load.join()) for load in loads[:2]] == [{200: 1}] * 2
        _until_waiting(server, 3)
        assert statuses(asyncio.run(open_loop(five, 1000, 0.001))) == {200: 1}
        assert statuses(loads[2].join()) == {200: 1}
        _, found = server.json("GET", "/v2/models/small/stats")
    sizes = {
        one["batch_size"]: one["compute_infer"]["count"] for one in found["model_stats"][0]["batch_stats"]
    }
    assert sizes == {6: 1, 8: 1}


# The larger body is more than the server reads ahead.
@pytest.mark.parametrize("count", [1, 6])
def test_who_hangs_up_waits_no_longer_and_is_not_classified(
    patient: RunningServer, pixels: np.ndarray, count: int
) -> None:
    asked = target(patient, pixels[np.arange(count) % 5])
    with socket.create_connection((asked.host, asked.port)) as connection:
        connection.sendall(asked.request())
        _until_waiting(patient, count)
    _until_waiting(patient, 0)
    _fill_a_batch(patient, pixels)


def test_who_hangs_up_within_a_body_is_no_error_of_ours(patient: RunningServer, pixels: np.ndarray) -> None:
    asked = target(patient, pixels[0])
    with socket.create_connection((asked.host, asked.port)) as connection:
        connection.sendall(asked.request()[:-100])
    _fill_a_batch(patient, pixels)
    assert b'status="499"' in patient.call("GET", "/metrics")[2]
    assert [event for event in patient.events if event["event"] == "internal error"] == []
    assert patient.stray == []


@pytest.mark.parametrize("call", ["ModelInfer", "ModelStreamInfer"])
def test_a_cancelled_call_waits_no_longer_and_is_not_classified(
    patient: RunningServer, pixels: np.ndarray, call: str
) -> None:
    request = message_class("ModelInferRequest")(model_name="small", raw_input_contents=[pixels[0].tobytes()])
    request.inputs.add(name="pictures", datatype="UINT8", shape=[1, SIDE, SIDE, 3])
    content, path = request.SerializeToString(), f"/inference.GRPCInferenceService/{call}"
    with grpc.insecure_channel(patient.grpc) as channel:
        if call == "ModelInfer":
            waiting = channel.unary_unary(path).future(content)
        else:
            waiting = channel.stream_stream(path)(iter([content]))
        _until_waiting(patient, 1)
        waiting.cancel()
        _until_waiting(patient, 0)
    _fill_a_batch(patient, pixels)
