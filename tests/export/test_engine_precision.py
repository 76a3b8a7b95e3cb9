"""An engine's manifest names the precision of the graph that it was built from."""

from __future__ import annotations

import pytest

from alexnet_fast.export.calibration import calibrate
from alexnet_fast.export.config import EngineConfig, for_tensorrt
from alexnet_fast.export.onnx.model import build_model, write_model
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from needs import needs_rtx


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_the_manifest_names_the_precision_of_the_graph(small_net, metadata, images, tmp_path, precision):
    scales = calibrate(small_net, metadata.spec, images, "ten") if precision == "int8" else None
    source = tmp_path / "model.tensorrt.onnx"
    write_model(build_model(small_net, metadata, for_tensorrt(precision, scales)), source)
    built = build_engine(source, tmp_path / "model.engine", choose_library(["86"]), EngineConfig())
    assert built.manifest.precision == precision
