"""Outputs besides the probabilities, and everybody who takes a file that has them."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import EngineConfig, GraphConfig, for_tensorrt
from alexnet_fast.export.onnx.model import build_model, serialize, write_model
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.inference.classifier import OnnxClassifier
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import take_crops
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from alexnet_fast.serve.http.predict import CropView
from needs import needs_rtx

ALL = {"extras": ("logits", "features"), "top": 3}


@pytest.fixture
def file(small_net, metadata, tmp_path):
    path = tmp_path / "model.onnx"
    write_model(build_model(small_net, metadata, GraphConfig(**ALL)), path)
    return path


def test_the_top_classes_come_with_their_probabilities(file, images):
    found = OnnxModel(file).outputs(images)
    assert list(found) == ["probabilities", "logits", "features", "top_classes", "top_probabilities"]
    order = np.argsort(-found["probabilities"], axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(found["top_classes"], order)
    assert found["top_classes"].dtype == np.int64
    np.testing.assert_array_equal(
        found["top_probabilities"], np.take_along_axis(found["probabilities"], order, 1)
    )


def test_one_image_or_none_gives_the_same_outputs(file, images):
    model = OnnxModel(file)
    assert {name: value.shape for name, value in model.outputs(images[:0]).items()} == {
        "probabilities": (0, 5),
        "logits": (0, 5),
        "features": (0, 32),
        "top_classes": (0, 3),
        "top_probabilities": (0, 3),
    }
    np.testing.assert_array_equal(model.outputs(images)["probabilities"], model.run(images))
    with pytest.raises(UserError, match="must have the shape"):
        model.outputs(images[:, :9])


@pytest.mark.parametrize("crops", ["single", "five", "ten"])
def test_features_and_logits_are_means_over_the_crops(small_net, metadata, images, crops, tmp_path):
    path = tmp_path / "model.onnx"
    write_model(build_model(small_net, dataclasses.replace(metadata, crops=crops), GraphConfig(**ALL)), path)
    found = OnnxModel(path).outputs(images)
    with torch.inference_mode():
        x = take_crops(torch.from_numpy(images), metadata.spec, crops)
        features = small_net.eval()[:-1](x)
        logits = small_net.fc8(features)
    for name, want in (("features", features), ("logits", logits)):
        mean = want.reshape(-1, len(images), want.shape[1]).mean(0)
        np.testing.assert_allclose(found[name], mean, atol=1e-4)


def test_the_classifier_reads_the_probabilities(file, small_net, metadata, images):
    session = onnxruntime.InferenceSession(
        serialize(build_model(small_net, metadata)), providers=["CPUExecutionProvider"]
    )
    (plain,) = session.run(None, {"images": images})
    classifier = OnnxClassifier(OnnxModel(file))
    np.testing.assert_allclose(classifier.probabilities(images, "ten"), plain, atol=1e-6)


def test_more_top_classes_than_classes_are_refused(small_net, metadata):
    with pytest.raises(UserError, match=r"--top-k 6 exceeds the 5 classes of the network; give at most 5"):
        build_model(small_net, metadata, GraphConfig(top=6))
    build_model(small_net, metadata, GraphConfig(top=5))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_narrow_types_give_their_outputs_in_float32(small_net, metadata, precision):
    form = dataclasses.replace(for_tensorrt(precision), **ALL)
    model = build_model(small_net, metadata, form)
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    assert types == {
        "probabilities": 1,
        "logits": 1,
        "features": 1,
        "top_classes": 7,
        "top_probabilities": 1,
    }


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_engine_has_further_outputs_too(small_net, metadata, tmp_path, precision):
    source = tmp_path / "model.tensorrt.onnx"
    write_model(build_model(small_net, metadata, dataclasses.replace(for_tensorrt(precision), **ALL)), source)
    built = build_engine(source, tmp_path / "model.engine", choose_library(["86"]), EngineConfig())
    assert [(t.name, t.dtype, t.shape) for t in built.manifest.outputs] == [
        ("probabilities", "float", (-1, 5)),
        ("logits", "float", (-1, 5)),
        ("features", "float", (-1, 32)),
        ("top_classes", "int64", (-1, 3)),
        ("top_probabilities", "float", (-1, 3)),
    ]


@pytest.mark.parametrize("crops", ["five", "ten"])
@pytest.mark.parametrize("stem", ["plain", "eager"])
def test_the_answers_of_the_crops_are_in_their_order(small_net, metadata, make_images, crops, stem, tmp_path):
    spec = AugmentSpec(resize=40, crop=32, std=(50.0, 60.0, 70.0))
    images = make_images(1, 40)
    path = tmp_path / "model.onnx"
    described = dataclasses.replace(metadata, spec=spec, crops=crops)
    write_model(build_model(small_net, described, GraphConfig(stem=stem)), path)
    with torch.inference_mode():
        want = small_net.eval()(take_crops(torch.from_numpy(images), spec, crops)).softmax(1).numpy()
    assert np.abs(want[0] - want[1]).max() > 0.01, "the test needs crops that differ"
    np.testing.assert_allclose(CropView(path).run(images[0]), want, atol=1e-5)
