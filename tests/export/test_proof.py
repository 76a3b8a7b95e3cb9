"""No file is published that does not answer as PyTorch does, and the figure is said."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.export import exporter as job
from alexnet_fast.export.config import ExportConfig
from alexnet_fast.export.export_images import ExportImages, generated_images
from alexnet_fast.export.exporter import run_export
from alexnet_fast.export.limits import TOLERANCE, Answers, judge, limits_of
from alexnet_fast.export.onnx import model as onnx_model
from alexnet_fast.export.onnx.model import lower
from alexnet_fast.export.torch_export import export_onnx
from alexnet_fast.pipelines.spec import AugmentSpec


@pytest.fixture
def export(small_net, metadata):
    def run(config, net=small_net, **given):
        images = ExportImages(**given)
        return run_export(net, metadata.spec, metadata.classes, "small", {}, images, config)

    return run


def wrong(monkeypatch, module, change):
    """Lets the writer write another network than it was given."""

    def build(*arguments):
        model = lower(*arguments)
        change({tensor.name: tensor for tensor in model.graph.initializer}, model)
        return model

    monkeypatch.setattr(module, "lower", build)


def shift_bias(tensors, _model):
    bias = onnx.numpy_helper.to_array(tensors["fc8.bias"]).copy()
    bias[1] += 0.01
    tensors["fc8.bias"].CopyFrom(onnx.numpy_helper.from_array(bias, "fc8.bias"))


@pytest.mark.parametrize("crops", ["single", "five", "ten"])
def test_without_images_it_is_compared_on_generated_ones(export, tmp_path, crops):
    result = export(ExportConfig(output=tmp_path, crops=crops, extras=("logits", "features"), top=2))
    verified = result["verified"]
    assert (verified["images"], verified["source"], verified["top1_agreement"]) == (8, "generated", 1)
    assert verified["max_abs_error"] <= TOLERANCE
    assert result["accuracy"] is None, "that is measured on real images"


def test_fewer_than_eight_images_are_not_enough(small_net, metadata, images, tmp_path):
    """The file is compared on generated ones as well, and both are in the progress line."""
    seen = []

    def progress(phase, done, of):
        seen.append((phase, done, of))
        return True

    result = run_export(
        small_net,
        metadata.spec,
        metadata.classes,
        "small",
        {},
        ExportImages(comparison=images[:3]),
        ExportConfig(output=tmp_path),
        progress=progress,
    )
    assert (result["verified"]["images"], result["verified"]["source"]) == (3, "real")
    assert ("comparing: PyTorch", 3, 3) in seen
    assert ("comparing: PyTorch", 8, 8) in seen
    assert ("comparing: model.onnx in onnxruntime", 8, 8) in seen


def test_a_file_with_other_answers_is_not_published(export, monkeypatch, tmp_path):
    export(ExportConfig(output=tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    wrong(monkeypatch, job, shift_bias)
    with pytest.raises(
        UserError,
        match=r"^model.onnx does not answer as PyTorch does: a probability is 0\.00\d+ off",
    ):
        export(ExportConfig(output=tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_export_onnx_publishes_no_file_with_other_answers(small_net, metadata, monkeypatch, tmp_path):
    wrong(monkeypatch, onnx_model, shift_bias)
    with pytest.raises(UserError, match="on 8 generated images; nothing was written; please report"):
        export_onnx(
            small_net, metadata.spec, metadata.classes, tmp_path / "a.onnx", model_name="x", provenance={}
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("output", "said"), [("logits", "its logits are 0.01 off"), ("features", "its features are 9 off")]
)
def test_further_outputs_are_compared_too(export, monkeypatch, tmp_path, output, said):
    def add(_tensors, model):
        """Adds a little to the output on its way."""
        (node,) = [node for node in model.graph.node if output in node.output]
        node.output[0] = f"{output}/right"
        little = np.float32(0.01 if output == "logits" else 9)
        model.graph.initializer.append(onnx.numpy_helper.from_array(little, "little"))
        model.graph.node.append(onnx.helper.make_node("Add", [node.output[0], "little"], [output]))

    wrong(monkeypatch, job, add)
    with pytest.raises(UserError, match=said):
        export(ExportConfig(output=tmp_path, extras=(output,)))


def test_hardly_differing_answers_are_judged_by_their_spread(small_net, export, tmp_path, monkeypatch):
    """1e-5 would pass for any answer of a network that was never trained."""
    with torch.no_grad():
        small_net.fc8.weight.mul_(1e-6)
        small_net.fc8.bias.zero_()
    export(ExportConfig(output=tmp_path / "right"))

    def turn(tensors, _model):
        weight = -onnx.numpy_helper.to_array(tensors["fc8.weight"])
        tensors["fc8.weight"].CopyFrom(onnx.numpy_helper.from_array(weight, "fc8.weight"))

    wrong(monkeypatch, job, turn)
    with pytest.raises(UserError, match="a probability is .* off"):
        export(ExportConfig(output=tmp_path / "wrong"))


@pytest.mark.parametrize("factor", [1e30, 1e37])
def test_activations_that_overflow_are_reported(small_net, export, tmp_path, factor):
    with torch.no_grad():
        small_net.fc6.weight.mul_(factor)
        small_net.fc8.weight.mul_(1e9)
    with pytest.raises(
        UserError, match="the answers of the network Sequential are not finite; its activations overflow"
    ):
        export(ExportConfig(output=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_networks_own_error_names_its_layer(export, tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 5, 4), nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(196, 5))
    with pytest.raises(UserError, match=r"layer 1 \(BatchNorm1d\) fails on crops of 3x32x32 \(ValueError"):
        export(ExportConfig(output=tmp_path), net=net)


def answers(probabilities, **outputs) -> Answers:
    return Answers("", np.asarray(probabilities, np.float32), outputs)


SURE = np.tile([[0.9, 0.1], [0.2, 0.8]], (4, 1))
P99 = "the 99th percentile of the differences of a probability is "


@pytest.mark.parametrize(
    ("precision", "got", "said"),
    [
        ("fp32", SURE, None),
        ("fp32", SURE + 2e-5, "a probability is 2e-05 off, more than 1e-05"),
        ("fp32", SURE * np.nan, "a probability is nan off"),
        ("fp16", SURE + 1e-3, None),
        ("fp16", SURE + 0.05, P99 + "0.05, more than 0.02"),
        ("fp16", SURE * np.nan, P99 + "nan"),
        ("int8", SURE + 0.1, None),
        ("int8", 1 - SURE, P99 + "0.8, more than 0.3"),
        ("bf16", SURE + 0.05, None),
    ],
)
def test_the_limits_of_each_precision(precision, got, said):
    found = judge(answers(got), answers(SURE), limits_of(precision, TOLERANCE))
    assert (found or "").startswith(said or "")
    assert (found is None) == (said is None)


def test_a_class_that_pytorch_finds_as_probable_counts_as_the_same():
    even = np.tile([[0.505, 0.495]], (8, 1))
    assert judge(answers(even[:, ::-1]), answers(even), limits_of("fp16", TOLERANCE)) is None
    unlike, sure = np.tile([[0.45, 0.55]], (8, 1)), np.tile([[0.6, 0.4]], (8, 1))
    limits = dataclasses.replace(limits_of("int8", TOLERANCE), p99=0.16)
    assert judge(answers(unlike), answers(sure), limits).startswith("only 0% have PyTorch's top-1 class")


def test_the_top_classes_are_those_of_the_probabilities():
    top = SURE.max(1, keepdims=True).astype(np.float32)
    right = answers(SURE, top_classes=SURE.argmax(1)[:, None], top_probabilities=top)
    limits = limits_of("fp32", TOLERANCE)
    assert judge(right, answers(SURE), limits) is None
    turned = right._replace(outputs={**right.outputs, "top_classes": SURE.argmin(1)[:, None]})
    said = "its top classes are not those of its probabilities"
    assert judge(turned, answers(SURE), limits) == said


@pytest.mark.parametrize("side", [1, 5, 64, 259])
def test_generated_images_differ_and_come_out_the_same(side):
    spec = AugmentSpec(resize=side, crop=side)
    found = generated_images(spec).nhwc_u8
    assert found.shape == (8, side, side, 3)
    np.testing.assert_array_equal(found, generated_images(spec).nhwc_u8)
    if side > 5:
        assert found.std(axis=(1, 2, 3)).min() > 20
        assert found.mean(axis=(1, 2)).std(axis=0).min() > 15
        across = np.abs(np.diff(found.astype(int), axis=2)).mean()
        assert 5 < across < 80, "neither flat nor noise alone"
