"""Networks that only torch's exporter can write go through the same job: outputs, engine, manifest, check."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import ExportConfig
from alexnet_fast.export.export_images import ExportImages
from alexnet_fast.export.exporter import run_export
from alexnet_fast.pipelines.ten_crop import take_crops
from alexnet_fast.runtime.manifest import verify_manifest
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from needs import needs_rtx

pytest.importorskip("onnxscript")


class Block(nn.Module):
    """A residual block with a shortcut that strides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        return (self.norm(self.conv(x)) + self.shortcut(x)).relu()


def residual() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Block(3, 8), Block(8, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
    ).eval()


@pytest.mark.slow
@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_residual_network(precision, metadata, images, tmp_path):
    net = residual()
    config = ExportConfig(
        output=tmp_path,
        trt=True,
        gpu_archs=("86",),
        precision=precision,
        extras=("logits", "features"),
        top=2,
        engine_cache=False,
    )
    result = run_export(net, metadata.spec, metadata.classes, "own", {}, ExportImages(), config)
    assert result["stem"].startswith("written by torch's exporter: layer 0 (Block) is of a class")
    assert result["verified"]["max_abs_error"] <= 1e-5
    assert verify_manifest(tmp_path / "model.engine").precision == precision
    found = OnnxModel(result["onnx"]).outputs(images)
    with torch.inference_mode():
        crops = take_crops(torch.from_numpy(images), metadata.spec, "ten")
        logits = net(crops).reshape(10, len(images), -1).mean(0).numpy()
        features = net[:4](crops).reshape(10, len(images), -1).mean(0).numpy()
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(found["features"], features, atol=1e-5)
    assert found["top_classes"].shape == (11, 2)


def test_int8_is_refused_with_the_layer(metadata, images, tmp_path):
    config = ExportConfig(output=tmp_path, precision="int8")
    given = ExportImages(calibration=images)
    with pytest.raises(
        UserError, match=r"--precision int8 is unavailable for this network: layer 0 \(Block\)"
    ):
        run_export(residual(), metadata.spec, metadata.classes, "own", {}, given, config)
    assert list(tmp_path.iterdir()) == []
