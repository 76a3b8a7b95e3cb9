"""A server under load: shutdown without loss, reloads without a failed request."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from server_load import Load, statuses, target

from alexnet_fast import Predictor
from alexnet_fast.bench.http_load import closed_loop, open_loop
from running_server import RunningServer, running
from small_model import make_model


@pytest.mark.parametrize(
    "rounds", [pytest.param(2, id="twice"), pytest.param(20, id="20 times", marks=pytest.mark.soak)]
)
def test_sigterm_under_load_loses_nothing(model_file: Path, pixels: np.ndarray, rounds: int) -> None:
    """A server that gets requests until it reports that it is not ready answers all of them."""
    total = 0
    for number in range(rounds):
        # The delay keeps requests in the queue all the time.
        with running(model_file, "--name", "small", "--max-queue-delay-ms", 30, "--drain-delay", 2) as server:
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
        # Kept connections are closed, so that clients connect elsewhere.
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
        _, answer = server.json("POST", "/v2/models/small/infer", _in_json(pixels[0]))
        assert answer["model_version"] == str(rounds + 1)
        np.testing.assert_allclose(
            answer["outputs"][0]["data"], Predictor(files[rounds % 2]).probabilities(pixels[0])[0], atol=1e-5
        )


def _in_json(image: np.ndarray) -> bytes:
    """Returns a request in JSON, whose answer is JSON too."""
    tensor = {
        "name": "images",
        "datatype": "UINT8",
        "shape": [1, *image.shape],
        "data": [image.tolist()],
    }
    return json.dumps({"inputs": [tensor]}).encode()


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
            _, answer = server.json("POST", f"/v2/models/{name}/infer", _in_json(pixels[0]))
            np.testing.assert_allclose(
                answer["outputs"][0]["data"], Predictor(file).probabilities(pixels[0])[0], atol=1e-5
            )
