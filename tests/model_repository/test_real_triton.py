"""Triton itself serves the Python variant, with the answers of the model."""

from __future__ import annotations

import re
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.utils
from running_triton import RunningTriton, running

from alexnet_fast.export.config import GraphConfig
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from alexnet_fast.serve.config import Batching
from alexnet_fast.serve.image import square_of
from alexnet_fast.serve.triton.model_config import TritonConfig
from alexnet_fast.serve.triton.repository import write_repository
from running_server import running as serving

pytestmark = pytest.mark.slow

MODULES = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(scope="module")
def triton(model: Path, tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp("triton")
    # A long delay, so that requests share a batch.
    config = TritonConfig(batching=Batching(max_queue_delay=0.2), threads=2)
    write_repository(model, directory / "models", name="cells", config=config)
    with running(directory / "models", directory) as server:
        server.wait_until_ready()
        yield server


def infer(triton: RunningTriton, module: Any, images: list[bytes], classes: int = 0) -> np.ndarray:
    url = triton.http if module is tritonclient.http else triton.grpc
    tensor = module.InferInput("images", [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(images, object)[:, None])
    wanted = module.InferRequestedOutput("probabilities", class_count=classes)
    with module.InferenceServerClient(url) as client:
        return client.infer("cells", [tensor], outputs=[wanted]).as_numpy("probabilities")


@pytest.fixture(scope="module")
def expected(model: Path, images: list[bytes]) -> np.ndarray:
    """float32 (images, classes), each image by itself."""
    onnx = OnnxModel(model, threads=2)
    return np.concatenate([onnx.run(square_of(image, onnx.spec)[None]) for image in images])


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_triton_gives_the_answers_of_the_model(triton, module, images, expected):
    assert expected.max(axis=1).std() > 0.01
    np.testing.assert_allclose(infer(triton, module, images), expected, atol=1e-6)
    for image, row in zip(images, expected, strict=True):
        np.testing.assert_allclose(infer(triton, module, [image])[0], row, atol=1e-6)


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_our_server_gives_the_same_answers(triton, module, model, images):
    """Both run the same file in onnxruntime; sums of a batch may run in another order."""
    with serving(model, "--name", "cells", "--threads", 2) as server:
        tensor = module.InferInput("images", [len(images)], "BYTES")
        tensor.set_data_from_numpy(np.array(images, object))
        url = server.http if module is tritonclient.http else server.grpc
        with module.InferenceServerClient(url) as client:
            ours = client.infer("cells", [tensor]).as_numpy("probabilities")
    np.testing.assert_allclose(infer(triton, module, images), ours, atol=1e-6)


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_triton_names_the_top_class(triton, module, model, images, expected):
    best = int(expected[0].argmax())
    (row,) = infer(triton, module, images[:1], classes=1)
    probability, index, label = np.ravel(row)[0].decode().split(":", 2)
    assert (int(index), label) == (best, OnnxModel(model).classes[best])
    assert float(probability) == pytest.approx(expected[0, best], abs=1e-5)


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_a_bad_image_fails_its_own_request(triton, module, images, expected):
    def bad() -> None:
        infer(triton, module, [images[0], b"no image"])

    with ThreadPoolExecutor(2) as pool:
        good, failing = pool.submit(infer, triton, module, images[:1]), pool.submit(bad)
        with pytest.raises(tritonclient.utils.InferenceServerException, match="image 1 cannot be classified"):
            failing.result()
        np.testing.assert_allclose(good.result(), expected[:1], atol=1e-6)


def count(triton: RunningTriton, metric: str) -> int:
    with urllib.request.urlopen(f"http://{triton.metrics}/metrics") as answer:
        text = answer.read().decode()
    return int(re.search(rf'^{metric}{{.*model="cells".*}} (\d+)$', text, re.MULTILINE)[1])


def test_requests_share_a_batch(triton, images, expected):
    executions, answered = count(triton, "nv_inference_exec_count"), count(triton, "nv_inference_count")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: infer(triton, tritonclient.http, images[:1]), range(12)))
    for answer in answers:
        np.testing.assert_allclose(answer, expected[:1], atol=1e-6)
    assert count(triton, "nv_inference_count") - answered == 12
    assert count(triton, "nv_inference_exec_count") - executions < 12


def test_triton_refuses_an_invalid_configuration(model, tmp_path):
    (directory,) = write_repository(model, tmp_path / "models", name="cells")
    config = directory / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size", "max_batch_sighs"))
    with running(tmp_path / "models", tmp_path) as server:
        assert server.process.wait(60) != 0
        assert "max_batch_sighs" in server.log.read_text()


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_triton_returns_every_output_by_name(module, images, tmp_path):
    """Two outputs in one request, and one alone; a repository offers every output of the file."""
    from small_model import make_model

    rich = make_model(tmp_path / "model.onnx", form=GraphConfig(extras=("logits", "features"), top=3))
    onnx = OnnxModel(rich, threads=2)
    expected = onnx.outputs(np.stack([square_of(image, onnx.spec) for image in images]))
    write_repository(rich, tmp_path / "models", name="rich")
    with running(tmp_path / "models", tmp_path) as server:
        server.wait_until_ready()
        url = server.http if module is tritonclient.http else server.grpc
        with module.InferenceServerClient(url) as client:
            tensor = module.InferInput("images", [len(images), 1], "BYTES")
            tensor.set_data_from_numpy(np.array(images, object)[:, None])
            for names in (["features", "top_classes"], ["logits"]):
                wanted = [module.InferRequestedOutput(name) for name in names]
                answer = client.infer("rich", [tensor], outputs=wanted)
                for name in names:
                    np.testing.assert_allclose(answer.as_numpy(name), expected[name], rtol=1e-4, atol=1e-5)
                assert answer.as_numpy("probabilities") is None
