"""An engine is run behind the same face as an ONNX file; without a GPU it says so, after its manifest."""

from __future__ import annotations

import numpy as np
import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import EngineConfig, for_tensorrt
from alexnet_fast.export.onnx.model import build_model, write_model
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.inference.classifier import open_classifier
from alexnet_fast.runtime.cuda import gpu_count
from alexnet_fast.runtime.manifest import BatchProfile
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from alexnet_fast.runtime.tensorrt_runtime import EngineModel
from needs import needs_no_gpu, needs_rtx

pytestmark = needs_rtx


@pytest.fixture
def engine(small_net, metadata, tmp_path):
    source = tmp_path / "model.onnx"
    write_model(build_model(small_net, metadata, for_tensorrt("fp32")), source)
    archs = None if gpu_count() else ["86"]
    config = EngineConfig(profiles=(BatchProfile(min=1, opt=2, max=4),))
    return build_engine(source, tmp_path / "model.engine", choose_library(archs), config).engine


@needs_no_gpu
def test_without_a_gpu_it_says_so_after_the_manifest(engine):
    with pytest.raises(UserError, match=r"an engine runs on an NVIDIA GPU only: .*; give the model\.onnx"):
        EngineModel(engine)
    with pytest.raises(UserError, match="an engine runs on an NVIDIA GPU only"):
        open_classifier(engine)
    contents = bytearray(engine.read_bytes())
    contents[1000] ^= 4
    engine.write_bytes(contents)
    with pytest.raises(UserError, match="SHA-256"):
        EngineModel(engine)


@pytest.mark.gpu
def test_it_answers_as_the_file_that_it_was_built_from(engine, images):
    model = EngineModel(engine)
    assert model.crops == "ten"
    want = OnnxModel(engine.with_name("model.onnx")).run(images)
    np.testing.assert_allclose(model.run(images), want, atol=1e-3, err_msg="eleven images in batches of 4")
    np.testing.assert_allclose(open_classifier(engine).probabilities(images[:1], "ten"), want[:1], atol=1e-3)
    assert model.run(images[:0]).shape == (0, 5)
