"""Load on a server under test, and the outcomes of its requests."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from alexnet_fast.bench.http_load import Outcome, Target
from alexnet_fast.serve.grpc.messages import message_class
from running_server import RunningServer
from small_model import SMALL

SIDE = SMALL.resize


def target(server: RunningServer, images: np.ndarray, model: str = "small", **parameters: int) -> Target:
    """Returns a request with one or several images as a binary tensor."""
    images = images if images.ndim == 4 else images[None]
    tensor = {
        "name": "images",
        "datatype": "UINT8",
        "shape": list(images.shape),
        "parameters": {"binary_data_size": images.size},
    }
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    host, _, port = server.http.partition(":")
    return Target(
        host=host,
        port=int(port),
        path=f"/v2/models/{model}/infer",
        body=head + images.tobytes(),
        headers=(("Inference-Header-Content-Length", str(len(head))),),
    )


def grpc_request(image: np.ndarray, **parameters: int) -> bytes:
    """Returns one image as a gRPC message."""
    request = message_class("ModelInferRequest")(model_name="small", raw_input_contents=[image.tobytes()])
    request.inputs.add(name="images", datatype="UINT8", shape=[1, SIDE, SIDE, 3])
    for name, value in parameters.items():
        request.parameters[name].int64_param = value
    return request.SerializeToString()


class Load:
    """Requests in a thread, while the test goes on."""

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
    return dict(Counter(outcome.status for outcome in outcomes))


def metric_samples(server: RunningServer) -> list[Sample]:
    """Returns the answer of `GET /metrics`, read by Prometheus' own parser."""
    text = server.call("GET", "/metrics")[2].decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def metric(server: RunningServer, name: str, **labels: str) -> float:
    """Returns the sum of a metric's samples with these labels; `name` lacks the prefix `alexnet_fast_`."""
    return sum(
        sample.value
        for sample in metric_samples(server)
        if sample.name == f"alexnet_fast_{name}" and labels.items() <= sample.labels.items()
    )


def until_waiting(server: RunningServer, images: int) -> None:
    """Returns once this number of images waits in the queue."""
    until = time.monotonic() + 30
    while metric(server, "queue_size", model="small") != images:
        assert time.monotonic() < until
        time.sleep(0.01)
