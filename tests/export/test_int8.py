"""int8: rounded where it pays, by steps found on images, and run by integer kernels."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.export import calibration
from alexnet_fast.export.calibration import HistogramObserver, calibrate
from alexnet_fast.export.config import EngineConfig, GraphConfig, for_tensorrt
from alexnet_fast.export.onnx.model import build_model, serialize, write_model
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import crop_probabilities, take_crops
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.runtime.onnx_runtime import OnnxModel
from needs import needs_rtx


@pytest.fixture
def scales(small_net, metadata, images):
    return calibrate(small_net, metadata.spec, images, "ten")


def initializers(model):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_magnitudes_that_fit_are_exact():
    found = HistogramObserver()
    found.add(np.linspace(-127, 127, 100_001, dtype=np.float32))
    assert found.scale() == pytest.approx(1, rel=0.01)


def test_a_single_outlier_is_cut_off():
    random = np.random.default_rng(0)
    found = HistogramObserver()
    found.add(random.normal(0, 1, 1_000_000).astype(np.float32))
    found.add(np.array([40], np.float32))
    assert found.scale() * 127 < 10, "the million count, not the one"


def test_the_histogram_grows_and_keeps_what_it_saw():
    whole, parts = HistogramObserver(), HistogramObserver()
    numbers = np.random.default_rng(1).uniform(0, 64, 4096).astype(np.float32)
    numbers[-1] = 64
    whole.add(numbers)
    for part in np.array_split(np.sort(numbers), 16):
        parts.add(part)
    assert parts.scale() == pytest.approx(whole.scale(), rel=0.05)


def test_the_scale_of_zeros_alone_is_one():
    found = HistogramObserver()
    found.add(np.zeros(9, np.float32))
    assert found.scale() == 1


def test_calibration_changes_nothing_and_comes_out_the_same_twice(small_net, metadata, images, scales):
    before = {name: value.clone() for name, value in small_net.state_dict().items()}
    assert calibrate(small_net.train(), metadata.spec, images, "ten") == scales
    assert small_net.training
    assert all(torch.equal(value, before[name]) for name, value in small_net.state_dict().items())
    assert set(scales.inputs) == {"conv1", "conv2", "fc6", "fc8"}
    assert set(scales.outputs) == {"conv1", "conv2", "fc6"}


def test_calibration_measures_behind_the_relu_and_the_folded_batch_norm(small_net, metadata, images, scales):
    other = calibrate(small_net, metadata.spec, images, "ten")
    with torch.no_grad():
        small_net.bn2.weight *= 2
        small_net.bn2.bias *= 2
    doubled = calibrate(small_net, metadata.spec, images, "ten")
    assert doubled.outputs["conv2"] == pytest.approx(2 * other.outputs["conv2"], rel=0.01)
    assert doubled.outputs["conv1"] == other.outputs["conv1"]


@pytest.mark.parametrize(("crops", "count"), [("single", 1), ("five", 5), ("ten", 10)])
def test_calibration_uses_the_crops_in_turn(small_spec, make_images, crops, count):
    images = make_images(12, small_spec.resize)
    shown = calibration._one_crop_each(images, small_spec, crops)
    assert len(shown) == 12
    for place, image in enumerate(images):
        every = take_crops(torch.from_numpy(image[None]), small_spec, crops)
        torch.testing.assert_close(shown[place], every[place % count], rtol=0, atol=0)


def test_no_images(small_net, metadata, images):
    with pytest.raises(UserError, match="no images to calibrate int8 on; .*--calibration-data"):
        calibrate(small_net, metadata.spec, images[:0], "ten")


@pytest.mark.parametrize("crops", ["single", "five", "ten"])
@pytest.mark.parametrize("target", ["onnxruntime", "tensorrt"])
def test_it_answers_nearly_as_pytorch_does(small_net, metadata, images, scales, crops, target, tmp_path):
    form = GraphConfig(precision="int8", scales=scales)
    form = form if target == "onnxruntime" else for_tensorrt("int8", scales)
    path = tmp_path / "model.onnx"
    write_model(build_model(small_net, dataclasses.replace(metadata, crops=crops), form), path)
    with torch.inference_mode():
        want = crop_probabilities(small_net.eval(), torch.from_numpy(images), metadata.spec, crops).numpy()
    error = np.abs(OnnxModel(path).run(images) - want)
    assert 0 < error.max() < 0.4, "rounded, and not lost"
    assert error.mean() < 0.03


@pytest.mark.parametrize(("target", "most"), [("onnxruntime", 64), ("tensorrt", 127)])
def test_weights_are_symmetric_and_by_channel(small_net, metadata, scales, target, most):
    model = build_model(small_net, metadata, GraphConfig(precision="int8", scales=scales, target=target))
    values = initializers(model)
    weight, step = values["conv1.weight"], values["conv1.weight.scale"]
    assert weight.dtype == np.int8
    assert step.shape == (16,)
    assert (np.abs(weight.reshape(16, -1)).max(1) == most).all(), "each channel uses all its steps"
    exact = small_net.conv1.weight.detach().numpy()
    assert np.abs(weight * step[:, None, None, None] - exact).max() <= step.max() * 0.501
    zero_points = [values[node.input[2]] for node in model.graph.node if "Linear" in node.op_type]
    assert len(zero_points) > 8
    assert not any(zeros.any() for zeros in zero_points)


def test_pairs_of_products_fit_sixteen_bits(small_net, metadata, scales):
    """What processors without VNNI add them in, which is seen on such a processor only."""
    model = build_model(small_net, metadata, GraphConfig(precision="int8", scales=scales))
    weights = [value.astype(int) for name, value in initializers(model).items() if name.endswith(".weight")]
    assert len(weights) == 4
    largest_input = 255
    assert max(2 * largest_input * np.abs(weight).max() for weight in weights) <= np.iinfo(np.int16).max


def test_integer_kernels_answer_as_float32_with_the_same_scales(small_net, metadata, images, scales):
    model = serialize(build_model(small_net, metadata, GraphConfig(precision="int8", scales=scales)))
    answers = []
    for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        answers.append(session.run(["probabilities"], {"images": images})[0])
    # A number that lies between two steps may fall to either side.
    np.testing.assert_allclose(*answers, atol=0.02)


def test_sharing_the_stem_rounds_alike(small_net, metadata, make_images):
    spec = AugmentSpec(resize=40, crop=32, std=(50.0, 60.0, 70.0))
    images = make_images(5, 40)
    scales = calibrate(small_net, spec, images, "ten")
    metadata = dataclasses.replace(metadata, spec=spec)
    answers = []
    for stem in ("plain", "eager"):
        model = build_model(small_net, metadata, GraphConfig(precision="int8", scales=scales, stem=stem))
        session = onnxruntime.InferenceSession(serialize(model), providers=["CPUExecutionProvider"])
        answers.append(session.run(["probabilities"], {"images": images})[0])
        assert any(node.name == "crops/both" for node in model.graph.node) == (stem == "eager")
    # A number that lies between two steps may fall to either side.
    np.testing.assert_allclose(*answers, atol=0.02)


def test_onnxruntime_computes_in_integers(small_net, metadata, scales, tmp_path):
    path, optimized = tmp_path / "model.onnx", tmp_path / "optimized.onnx"
    write_model(build_model(small_net, metadata, GraphConfig(precision="int8", scales=scales)), path)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(optimized).graph.node]
    assert (operators.count("QLinearConv"), operators.count("QGemm")) == (2, 2)
    assert operators.count("Conv") == 1, "the sum of squares of the normalisation stays in float32"
    assert "Gemm" not in operators


def test_a_channel_without_weights_and_a_layer_without_answers(small_net, metadata, images, tmp_path):
    with torch.no_grad():
        small_net.conv1.weight[3] = 0
        small_net.fc6.weight[:] = 0
        small_net.fc6.bias[:] = -1
    scales = calibrate(small_net, metadata.spec, images, "ten")
    assert scales.inputs["fc8"] == 1
    path = tmp_path / "model.onnx"
    write_model(build_model(small_net, metadata, GraphConfig(precision="int8", scales=scales)), path)
    answers = OnnxModel(path).run(images)
    want = small_net.fc8.bias.softmax(0).detach().numpy()
    np.testing.assert_allclose(answers, np.broadcast_to(want, answers.shape), atol=1e-3)


def test_a_net_without_relu_behind_its_convolution(metadata, images, small_spec, tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 3, 4),
            bn1=nn.BatchNorm2d(8),
            pool1=nn.MaxPool2d(2, 2),
            flatten=nn.Flatten(),
            fc2=nn.Linear(8 * 16, 5),
        )
    )
    scales = calibrate(net, small_spec, images, "single")
    assert set(scales.outputs) == {"conv1"}
    path = tmp_path / "model.onnx"
    single = dataclasses.replace(metadata, crops="single")
    write_model(build_model(net, single, GraphConfig(precision="int8", scales=scales)), path)
    with torch.inference_mode():
        want = crop_probabilities(net.eval(), torch.from_numpy(images), small_spec, "single").numpy()
    np.testing.assert_allclose(OnnxModel(path).run(images), want, atol=0.02)


@needs_rtx
@pytest.mark.parametrize("arch", ["86", "120"])
def test_tensorrt_builds_it(small_net, metadata, scales, tmp_path, arch):
    source = tmp_path / "model.tensorrt.onnx"
    write_model(build_model(small_net, metadata, for_tensorrt("int8", scales)), source)
    built = build_engine(source, tmp_path / "model.engine", choose_library([arch]), EngineConfig())
    assert built.manifest.engine.bytes > 5_000


def test_int8_without_scales_is_a_mistake_of_the_caller(scales):
    with pytest.raises(ValueError, match="int8 needs scales"):
        GraphConfig(precision="int8")
    with pytest.raises(ValueError, match="int8 needs scales"):
        GraphConfig(scales=scales)


def test_two_int8_exports_are_the_same_bytes(small_net, metadata: GraphMetadata, scales):
    form = GraphConfig(precision="int8", scales=scales)
    assert serialize(build_model(small_net, metadata, form)) == serialize(
        build_model(small_net, metadata, form)
    )
