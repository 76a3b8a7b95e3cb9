"""Every output of an export is served: logits, features, top classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from alexnet_fast.export.config import GraphConfig
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from running_server import RunningServer, running
from small_model import CLASSES, make_model

MODULES = {"http": tritonclient.http, "grpc": tritonclient.grpc}
SHAPES = {
    "probabilities": ("FP32", [-1, 7]),
    "logits": ("FP32", [-1, 7]),
    "features": ("FP32", [-1, 864]),
    "top_classes": ("INT64", [-1, 3]),
    "top_probabilities": ("FP32", [-1, 3]),
}


@pytest.fixture(scope="module")
def rich_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with every output."""
    form = GraphConfig(extras=("logits", "features"), top=3)
    return make_model(tmp_path_factory.mktemp("rich") / "model.onnx", form=form)


@pytest.fixture(scope="module")
def rich(rich_file: Path) -> Iterator[RunningServer]:
    """A server that waits for more requests, so that those for different outputs share a batch."""
    with running(rich_file, "--name", "rich", "--threads", 1, "--max-queue-delay-ms", 50) as server:
        yield server


@pytest.fixture(scope="module")
def expected(rich_file: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """All outputs for the five images, without a server."""
    return OnnxModel(rich_file, threads=1).outputs(pixels)


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> Any:
    """tritonclient over one of the protocols."""
    return MODULES[request.param]


@pytest.fixture
def client(module: Any, rich: RunningServer) -> Any:
    with module.InferenceServerClient(rich.http if module is tritonclient.http else rich.grpc) as found:
        yield found


def ask(client: Any, module: Any, pixels: np.ndarray, *names: str, **options: Any) -> Any:
    """Sends images; requests all outputs if no name is given."""
    tensor = module.InferInput("images", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels)
    wanted = [module.InferRequestedOutput(name, **options) for name in names]
    return client.infer("rich", [tensor], outputs=wanted or None)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """Compares outputs; sums of a batch may run in another order."""
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_every_output_is_described(client: Any, module: Any) -> None:
    options = {"as_json": True} if module is tritonclient.grpc else {}
    described = client.get_model_metadata("rich", **options)["outputs"]
    assert {
        one["name"]: (one["datatype"], [int(size) for size in one["shape"]]) for one in described
    } == SHAPES
    config = client.get_model_config("rich", **options)
    outputs = config.get("config", config)["output"]
    assert {one["name"]: (one["data_type"], [int(size) for size in one["dims"]]) for one in outputs} == {
        name: (f"TYPE_{datatype}", shape[1:]) for name, (datatype, shape) in SHAPES.items()
    }


def test_a_request_without_outputs_gets_all(
    client: Any, module: Any, pixels: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    answer = ask(client, module, pixels)
    for name in SHAPES:
        same(answer.as_numpy(name), expected[name])


def test_a_request_gets_only_the_outputs_that_it_names(
    client: Any, module: Any, pixels: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    answer = ask(client, module, pixels[:2], "top_classes", "features")
    same(answer.as_numpy("features"), expected["features"][:2])
    same(answer.as_numpy("top_classes"), expected["top_classes"][:2])
    assert answer.as_numpy("probabilities") is None


def test_requests_for_different_outputs_share_a_batch(
    rich: RunningServer, pixels: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    def one(name: str, row: int) -> None:
        with tritonclient.http.InferenceServerClient(rich.http) as client:
            same(
                ask(client, tritonclient.http, pixels[row : row + 1], name).as_numpy(name),
                expected[name][row : row + 1],
            )

    def executions() -> int:
        return rich.json("GET", "/v2/models/rich/stats")[1]["model_stats"][0]["execution_count"]

    before = executions()
    with ThreadPoolExecutor(20) as threads:
        for future in [threads.submit(one, name, row) for name in SHAPES for row in range(4)]:
            future.result()
    assert executions() - before < 20


def test_one_answer_may_mix_json_and_binary_outputs(
    rich: RunningServer, pixels: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 64, 64, 3], "data": pixels[0].tolist()}
    outputs = [
        {"name": "logits", "parameters": {"binary_data": True}},
        {"name": "top_classes"},
        {"name": "probabilities", "parameters": {"binary_data": True}},
    ]
    body = json.dumps({"inputs": [{**tensor, "data": [tensor["data"]]}], "outputs": outputs}).encode()
    status, headers, content = rich.call("POST", "/v2/models/rich/infer", body)
    assert status == 200
    split = int(headers["inference-header-content-length"])
    logits, classes, _ = json.loads(content[:split])["outputs"]
    assert (logits["parameters"], classes["data"]) == (
        {"binary_data_size": 28},
        expected["top_classes"][0].tolist(),
    )
    found = np.frombuffer(content[split:], "<f4").reshape(2, 7)
    same(found[:1], expected["logits"][:1])
    same(found[1:], expected["probabilities"][:1])


def test_classes_can_be_ranked_by_logits(
    client: Any, module: Any, pixels: np.ndarray, expected: dict[str, np.ndarray]
) -> None:
    (row,) = ask(client, module, pixels[:1], "logits", class_count=2).as_numpy("logits")
    best = np.argsort(-expected["logits"][0])[:2]
    assert [text.decode().split(":", 2)[1:] for text in row] == [[str(i), CLASSES[i]] for i in best]


@pytest.mark.parametrize(
    ("names", "options", "reason"),
    [
        (["crops"], {}, "there is no output 'crops', there is probabilities, logits, features, top_classes"),
        (["logits", "logits"], {}, "the output 'logits' is requested 2 times"),
        (["features"], {"class_count": 2}, "'features' has no value per class"),
    ],
)
def test_an_unknown_or_repeated_output_is_refused(
    client: Any, module: Any, pixels: np.ndarray, names: list[str], options: dict[str, int], reason: str
) -> None:
    with pytest.raises(InferenceServerException, match=reason) as caught:
        ask(client, module, pixels[:1], *names, **options)
    assert caught.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_predict_answers_only_with_classes(rich: RunningServer, jpegs: list[bytes]) -> None:
    status, answer = rich.json("POST", "/predict", jpegs[0])
    assert status == 200
    assert len(answer["predictions"][0]["classes"]) == 5
