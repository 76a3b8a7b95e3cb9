"""A network of timm gets the ten crops around it, in the environment where timm is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

BASELINES = Path(__file__).parents[2] / "alexnet_fast" / "bench" / "baselines"
PYTHON = BASELINES / ".venv" / "bin" / "python"
_CODE = """
import dataclasses, json, sys
import torchvision_beside_cpu_torch
import numpy, timm, torch
from alexnet_fast.export.torch_export import export_ten_crop
from alexnet_fast.pipelines.ten_crop import crop_probabilities
from alexnet_fast.pipelines import TORCHVISION_SPEC
from alexnet_fast.runtime.onnx_runtime import OnnxModel

torch.manual_seed(0)
net = timm.create_model(sys.argv[1], num_classes=5).eval()
spec = dataclasses.replace(TORCHVISION_SPEC, resize=72, crop=64)
model = OnnxModel(export_ten_crop(net, spec, list("abcde"), sys.argv[2]))
images = numpy.random.default_rng(1).integers(0, 256, (3, 72, 72, 3), numpy.uint8)
with torch.inference_mode():
    want = crop_probabilities(net, torch.from_numpy(images), spec, "ten").numpy()
got = model.run(images)
error, spread = float(abs(got - want).max()), float(want.std())
print(json.dumps({"model": model.metadata.model, "error": error, "spread": spread}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="needs timm: make baselines")
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_networks_of_timm(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(BASELINES), "OMP_NUM_THREADS": "2"}
    words = [str(PYTHON), "-c", _CODE, name, str(tmp_path / "model.onnx")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=400)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["model"] in ("ResNet", "MobileNetV3")
    assert found["spread"] > 0
    assert found["error"] <= 1e-5
