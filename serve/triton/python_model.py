"""Model for Triton's Python backend: classifies encoded images with onnxruntime on the CPU.

A repository holds a copy of this file as `1/model.py` beside `1/model.onnx`. It needs alexnet-fast, numpy,
onnxruntime and Pillow in the Python that Triton runs, and neither torch nor DALI.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

# Exists only inside Triton.
import triton_python_backend_utils as triton  # type: ignore[import-not-found]

from alexnet_fast.runtime.metadata import INPUT
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from alexnet_fast.serve.image import SERVED, squares_of


class TritonPythonModel:
    """The class that Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model."""
        threads = json.loads(args["model_config"])["parameters"]["threads"]["string_value"]
        directory = Path(args["model_repository"]) / args["model_version"]
        self._model = OnnxModel(directory / "model.onnx", threads=int(threads))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers a batch of requests; a bad image fails only its own request."""
        squares: list[np.ndarray[Any, Any]] = []
        counts: list[int | str] = []
        for request in requests:
            images = list(triton.get_input_tensor_by_name(request, INPUT).as_numpy().reshape(-1))
            good, reasons = squares_of(images, self._model.spec, SERVED)
            if reasons:
                place, reason = next(iter(reasons.items()))
                counts.append(f"image {place} cannot be classified: {reason}")
            else:
                counts.append(len(good))
                squares += good
        names = {name for request in requests for name in request.requested_output_names()}
        outputs = self._model.outputs(np.stack(squares), list(names)) if squares else {}
        return _responses(counts, outputs)


def _responses(counts: list[int | str], outputs: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
    """Splits the rows between the requests: a number of rows each, or the reason of a refusal.

    Triton drops the outputs that a request does not name.
    """
    responses, start = [], 0
    for count in counts:
        if isinstance(count, str):
            error = triton.TritonError(count, triton.TritonError.INVALID_ARG)
            responses.append(triton.InferenceResponse(error=error))
        else:
            tensors = [triton.Tensor(name, rows[start : start + count]) for name, rows in outputs.items()]
            responses.append(triton.InferenceResponse(tensors))
            start += count
    return responses
