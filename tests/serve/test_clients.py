"""Unmodified clients: tritonclient over HTTP and gRPC, blocking and asyncio; curl and plain HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from server_load import metric

from alexnet_fast import Predictor
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.serve.image import square_of
from running_server import RunningServer
from small_model import CLASSES

MODULES = {"http": tritonclient.http, "grpc": tritonclient.grpc}


@pytest.fixture(params=MODULES)
def module(request: pytest.FixtureRequest) -> Any:
    """tritonclient over one of the protocols."""
    return MODULES[request.param]


@pytest.fixture
def client(module: Any, server: RunningServer) -> Any:
    """A blocking client."""
    with module.InferenceServerClient(server.http if module is tritonclient.http else server.grpc) as found:
        yield found


def input_of(module: Any, data: np.ndarray | list[bytes], **options: Any) -> Any:
    """Returns the input tensor of pixels or of encoded images."""
    array = data if isinstance(data, np.ndarray) else np.array(data, dtype=np.object_)
    tensor = module.InferInput("images", list(array.shape), "BYTES" if array.dtype == object else "UINT8")
    tensor.set_data_from_numpy(array, **options)
    return tensor


def test_health_and_description(client: Any, module: Any) -> None:
    options = {"as_json": True} if module is tritonclient.grpc else {}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.is_model_ready("small", "1")
    assert client.get_server_metadata(**options)["name"] == "alexnet-fast"
    metadata = client.get_model_metadata("small", "1", **options)
    assert [int(size) for size in metadata["inputs"][0]["shape"]] == [-1, 64, 64, 3]
    assert metadata["outputs"][0]["datatype"] == "FP32"
    config = client.get_model_config("small", **options)
    assert config.get("config", config)["max_batch_size"] == 16


def test_pixels_get_the_answers_of_the_model(
    client: Any, module: Any, pixels: np.ndarray, reference: Predictor
) -> None:
    output = module.InferRequestedOutput("probabilities")
    answer = client.infer("small", [input_of(module, pixels)], outputs=[output], request_id="a 7")
    np.testing.assert_allclose(answer.as_numpy("probabilities"), reference.probabilities(pixels), atol=1e-6)
    response = answer.get_response()
    if module is tritonclient.grpc:
        assert (response.id, response.model_name, response.model_version) == ("a 7", "small", "1")
    else:
        assert (response["id"], response["model_name"], response["model_version"]) == ("a 7", "small", "1")


def test_encoded_images_get_the_answers_of_the_model(
    client: Any, module: Any, jpegs: list[bytes], reference: Predictor
) -> None:
    answer = client.infer("small", [input_of(module, jpegs)], model_version="1")
    np.testing.assert_allclose(answer.as_numpy("probabilities"), reference.probabilities(jpegs), atol=1e-6)


def test_classes_are_sorted_by_probability(
    client: Any, module: Any, jpegs: list[bytes], reference: Predictor
) -> None:
    output = module.InferRequestedOutput("probabilities", class_count=3)
    answer = client.infer("small", [input_of(module, jpegs)], outputs=[output])
    for row, expected in zip(answer.as_numpy("probabilities"), reference.predict(jpegs, top=3), strict=True):
        found = [text.decode().split(":", 2) for text in row]
        assert [(int(index), label) for _, index, label in found] == [
            (guess.index, guess.label) for guess in expected.classes
        ]
        assert float(found[0][0]) == pytest.approx(expected.classes[0].probability, abs=1e-5)


def test_tensors_are_json_in_request_and_answer(
    server: RunningServer, pixels: np.ndarray, reference: Predictor
) -> None:
    module = tritonclient.http
    with module.InferenceServerClient(server.http) as client:
        tensor = input_of(module, pixels[:2], binary_data=False)
        output = module.InferRequestedOutput("probabilities", binary_data=False)
        answer = client.infer("small", [tensor], outputs=[output])
    assert "data" in answer.get_response()["outputs"][0]
    np.testing.assert_allclose(
        answer.as_numpy("probabilities"), reference.probabilities(pixels[:2]), atol=1e-6
    )


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests_get_the_same_answers(
    server: RunningServer, pixels: np.ndarray, reference: Predictor, algorithm: str
) -> None:
    module = tritonclient.http
    with module.InferenceServerClient(server.http) as client:
        answer = client.infer(
            "small",
            [input_of(module, pixels)],
            request_compression_algorithm=algorithm,
            response_compression_algorithm=algorithm,
        )
    np.testing.assert_allclose(answer.as_numpy("probabilities"), reference.probabilities(pixels), atol=1e-6)


def test_statistics_count_requests_and_images(client: Any, module: Any, pixels: np.ndarray) -> None:
    def statistics() -> dict[str, Any]:
        options = {"as_json": True} if module is tritonclient.grpc else {}
        found: dict[str, Any] = client.get_inference_statistics("small", **options)["model_stats"][0]
        return found

    client.infer("small", [input_of(module, pixels)])
    before = statistics()
    for _ in range(3):
        client.infer("small", [input_of(module, pixels)])
    after = statistics()
    assert int(after["inference_count"]) - int(before["inference_count"]) == 15
    assert int(after["execution_count"]) - int(before["execution_count"]) == 3
    success = after["inference_stats"]["success"]
    parts = [after["inference_stats"][name] for name in ("queue", "compute_input", "compute_infer")]
    assert sum(int(part["ns"]) for part in parts) <= int(success["ns"])


def test_concurrent_asyncio_requests_get_the_same_answers(
    server: RunningServer, pixels: np.ndarray, reference: Predictor
) -> None:
    """Each of 40 concurrent requests of different sizes gets its own rows."""
    expected = reference.probabilities(pixels)

    async def ask(module: Any, address: str) -> None:
        async with module.InferenceServerClient(address) as client:
            sizes = [1 + number % 5 for number in range(40)]
            family = MODULES["http" if ".http" in module.__name__ else "grpc"]
            tensors = [[input_of(family, pixels[5 - size :])] for size in sizes]
            answers = await asyncio.gather(*(client.infer("small", tensor) for tensor in tensors))
        for size, answer in zip(sizes, answers, strict=True):
            np.testing.assert_allclose(answer.as_numpy("probabilities"), expected[5 - size :], atol=1e-6)

    asyncio.run(ask(tritonclient.http.aio, server.http))
    asyncio.run(ask(tritonclient.grpc.aio, server.grpc))


def test_a_stream_answers_in_order_and_outlives_an_error(
    server: RunningServer, pixels: np.ndarray, reference: Predictor
) -> None:
    module = tritonclient.grpc
    answers: list[Any] = []
    with module.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.append((result, error)))
        for size in (1, 3):
            client.async_stream_infer("small", [input_of(module, pixels[:size])])
        client.async_stream_infer("nothing", [input_of(module, pixels[:1])])
        client.async_stream_infer("small", [input_of(module, pixels[:2])])
        client.stop_stream()
    assert [error is None for _, error in answers] == [True, True, False, True]
    assert "there is no model 'nothing'" in str(answers[2][1])
    for size, place in ((1, 0), (3, 1), (2, 3)):
        np.testing.assert_allclose(
            answers[place][0].as_numpy("probabilities"), reference.probabilities(pixels[:size]), atol=1e-6
        )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
class TestCurl:
    """The examples of docs/serving.md."""

    def curl(self, *arguments: str) -> Any:
        """Runs curl and parses its output."""
        done = subprocess.run(
            ["curl", "--silent", "--fail-with-body", *arguments], capture_output=True, check=True, timeout=30
        )
        return json.loads(done.stdout)

    def test_a_file(
        self, server: RunningServer, jpegs: list[bytes], tmp_path: Path, reference: Predictor
    ) -> None:
        (tmp_path / "photo.jpg").write_bytes(jpegs[0])
        answer = self.curl(
            "--data-binary", f"@{tmp_path / 'photo.jpg'}", f"http://{server.http}/predict?top=3"
        )
        (prediction,) = answer["predictions"]
        expected = reference.predict(jpegs[0], top=3)[0]
        assert [guess["label"] for guess in prediction["classes"]] == [
            guess.label for guess in expected.classes
        ]
        assert answer["model"] == "small"

    def test_a_form_of_files(self, server: RunningServer, jpegs: list[bytes], tmp_path: Path) -> None:
        for name, content in zip(("one.jpg", "zwei ä.jpg"), jpegs, strict=True):
            (tmp_path / name).write_bytes(content)
        answer = self.curl(
            "-F",
            f"a=@{tmp_path / 'one.jpg'}",
            "-F",
            f"b=@{tmp_path / 'zwei ä.jpg'}",
            "-F",
            "note=hello",
            f"http://{server.http}/predict",
        )
        assert [prediction["file"] for prediction in answer["predictions"]] == ["one.jpg", "zwei ä.jpg"]

    def test_the_protocol_by_hand(self, server: RunningServer, jpegs: list[bytes], tmp_path: Path) -> None:
        """A binary tensor: JSON, then the length of the image, then the image."""
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": "images",
                        "datatype": "BYTES",
                        "shape": [1],
                        "parameters": {"binary_data_size": 4 + len(jpegs[0])},
                    }
                ]
            }
        ).encode()
        (tmp_path / "body").write_bytes(head + len(jpegs[0]).to_bytes(4, "little") + jpegs[0])
        answer = self.curl(
            "-H",
            f"Inference-Header-Content-Length: {len(head)}",
            "--data-binary",
            f"@{tmp_path / 'body'}",
            f"http://{server.http}/v2/models/small/versions/1/infer",
        )
        assert answer["outputs"][0]["shape"] == [1, len(CLASSES)]


def test_every_crop_of_an_image_has_its_classes_and_position(
    server: RunningServer, jpegs: list[bytes], reference: Predictor
) -> None:
    """The mean over the ten crops is the answer of the model."""
    status, answer = server.json("POST", f"/predict?crops=1&top={len(CLASSES)}", jpegs[0])
    assert status == 200
    (prediction,) = answer["predictions"]
    assert len(prediction["crops"]) == 10
    places = [(0, 0), (8, 0), (0, 8), (8, 8), (4, 4)]
    assert [(crop["left"], crop["top"], crop["mirrored"]) for crop in prediction["crops"]] == [
        (*place, mirrored) for mirrored in (False, True) for place in places
    ]
    mean = np.zeros(len(CLASSES))
    for crop in prediction["crops"]:
        for guess in crop["classes"]:
            mean[guess["index"]] += guess["probability"] / 10
    np.testing.assert_allclose(mean, reference.probabilities(jpegs[0])[0], atol=1e-5)


def test_metrics_have_the_type_of_prometheus_text_format(server: RunningServer) -> None:
    _, headers, text = server.call("GET", "/metrics")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family.type for family in text_string_to_metric_families(text.decode())}
    assert {name for name in families if not name.startswith("alexnet_fast_")} == {
        *("process_resident_memory_bytes", "process_virtual_memory_bytes", "process_start_time_seconds"),
        *("process_cpu_seconds", "process_open_fds", "process_max_fds"),
    }
    assert {name: kind for name, kind in families.items() if name.startswith("alexnet_fast_")} == {
        "alexnet_fast_requests": "counter",
        "alexnet_fast_request_duration_seconds": "histogram",
        "alexnet_fast_ready": "gauge",
        "alexnet_fast_queue_size": "gauge",
        "alexnet_fast_images": "counter",
        "alexnet_fast_batches": "counter",
        "alexnet_fast_stage_duration_seconds": "summary",
        "alexnet_fast_batch_size": "histogram",
        "alexnet_fast_model_reloads": "counter",
    }


def test_metrics_count_each_request_its_images_and_its_stages(
    server: RunningServer, jpegs: list[bytes]
) -> None:
    version = {"model": "small", "version": "1"}
    watched: list[tuple[str, dict[str, str]]] = [
        ("requests_total", {"protocol": "http", "status": "200"}),
        ("request_duration_seconds_count", {"protocol": "http"}),
        ("request_duration_seconds_bucket", {"protocol": "http", "le": "+Inf"}),
        ("images_total", version),
        ("batches_total", version),
        ("batch_size_count", version),
        ("batch_size_sum", version),
        ("batch_size_bucket", {**version, "le": "1.0"}),
        *(
            ("stage_duration_seconds_count", {**version, "stage": stage})
            for stage in ("success", "queue", "compute_input", "compute_infer", "compute_output")
        ),
    ]
    before = [metric(server, name, **labels) for name, labels in watched]
    server.call("POST", "/predict", jpegs[0])
    after = [metric(server, name, **labels) for name, labels in watched]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1] * len(watched)
    assert metric(server, "ready") == 1
    assert metric(server, "queue_size", model="small") == 0


def test_the_square_beside_the_crops_is_what_the_model_gets(
    server: RunningServer, reference: Predictor
) -> None:
    """A browser would draw the transparent half over its page; the model gets white there."""
    image = Image.effect_noise((90, 70), 80).convert("RGBA")
    image.paste((255, 0, 0, 0), (0, 0, 45, 70))
    file = io.BytesIO()
    image.save(file, "PNG")
    status, answer = server.json("POST", "/predict?crops=1", file.getvalue())
    assert status == 200
    head, _, data = answer["predictions"][0]["square"].partition(",")
    assert head == "data:image/png;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    spec = AugmentSpec(resize=reference.side, crop=reference.side)
    assert np.array_equal(shown, square_of(file.getvalue(), spec))
    assert (shown[:, :20] == 255).all()
