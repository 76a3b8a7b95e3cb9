"""Rounding errors of the whole network in float32: onnxruntime and OpenVINO against float64.

The C++ library runs OpenVINO with the same settings, and gives the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet_fast.export.config import GraphConfig
from alexnet_fast.export.torch_export import export_onnx
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.cpu.pillow import centre_square
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import take_crops
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from sharpened import sharpen

pytestmark = pytest.mark.soak

CLASSES, IMAGES = 1000, 4
Outputs = Mapping[str, np.ndarray]


def in_float64(net: torch.nn.Module, squares: np.ndarray, spec: AugmentSpec) -> Outputs:
    """The network with every sum in float64, on the same input as both runtimes."""
    crops = [take_crops(torch.from_numpy(square[None]), spec, "ten").double() for square in squares]
    with torch.no_grad():
        logits = [net(crop) for crop in crops]
    return {
        "logits": np.stack([row.mean(0).numpy() for row in logits]),
        "probabilities": np.stack([row.softmax(1).mean(0).numpy() for row in logits]),
    }


def in_openvino(path: Path, squares: np.ndarray, **settings: Any) -> Outputs:
    """Runs a model as serve/cpp does."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    fixed = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    compiled = core.compile_model(core.read_model(path), "CPU", {**fixed, **settings})
    found = [compiled(square[None]) for square in squares]
    return {name: np.concatenate([one[name] for one in found]) for name in ("probabilities", "logits")}


def test_both_runtimes_differ_from_float64_by_float32_rounding(
    photographs: list[Image.Image], tmp_path: Path
) -> None:
    spec, path = AugmentSpec(), tmp_path / "model.onnx"
    parts = [photographs[at % 2].crop((20 * at, 0, 20 * at + 300, 300)) for at in range(IMAGES)]
    squares = np.stack([centre_square(part, spec) for part in parts])
    torch.manual_seed(1)
    net = sharpen(create_model("alexnet", CLASSES), squares, spec).eval()
    names = tuple(f"class {number}" for number in range(CLASSES))
    export_onnx(
        net, spec, names, path, model_name="alexnet", provenance={}, config=GraphConfig(extras=("logits",))
    )
    exact = in_float64(net.double(), squares, spec)
    model = OnnxModel(path)
    alone = [model.outputs(square[None]) for square in squares]
    ours = {name: np.concatenate([one[name] for one in alone]) for name in exact}
    theirs = in_openvino(path, squares)
    # Neither the mode nor the number of threads changes the order of sums.
    for settings in ({"EXECUTION_MODE_HINT": "PERFORMANCE"}, {"INFERENCE_NUM_THREADS": 1}):
        np.testing.assert_array_equal(in_openvino(path, squares, **settings)["logits"], theirs["logits"])
    for name, true in exact.items():
        size = np.sqrt((true**2).mean())
        errors = {"onnxruntime": ours[name] - true, "OpenVINO": theirs[name] - true}
        errors["one from the other"] = theirs[name] - ours[name]
        for what, error in errors.items():
            print(
                f"{name}, {what}: at most {np.abs(error).max():.2e},"
                f" {np.sqrt((error**2).mean()) / size:.1e} of the values at the root mean square"
            )
        # Some tens of roundings at 2 ** -24 each.
        assert all(np.sqrt((error**2).mean()) < 100 * 2**-24 * size for error in errors.values())
