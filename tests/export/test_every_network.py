"""Every network by name is exported, with ten crops and one, and answers as PyTorch does."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import CPU_CONFIG, for_tensorrt
from alexnet_fast.export.layers import read_layers
from alexnet_fast.export.onnx.model import build_model, serialize
from alexnet_fast.export.onnx.stem_plan import plan_stem
from alexnet_fast.models import Network, model_names, model_spec
from alexnet_fast.models.factory import network_of
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import crop_probabilities
from alexnet_fast.runtime.metadata import GraphMetadata

CLASSES = ("ant", "bee", "cat")
# The crops lie 8 and 16 pixels apart, which every stem's stride divides.
SIDE, MARGIN = 64, 16


def small(name: str) -> Network:
    """A network with few hidden units, on small images."""
    spec = model_spec(name)
    changes = {"input": dataclasses.replace(spec.input, crop=SIDE, resize=SIDE + MARGIN)}
    if hasattr(spec, "hidden"):
        changes["hidden"] = tuple(16 for _ in spec.hidden) if isinstance(spec.hidden, tuple) else 16
    if spec.name.startswith("vgg"):
        changes["blocks"] = tuple(tuple(width // 16 for width in block) for block in spec.blocks)
    if spec.name.startswith("convnet"):
        changes["blocks"] = tuple(width // 8 for width in spec.blocks)
    return network_of(dataclasses.replace(spec, **changes), len(CLASSES)).eval()


def written(net: Network, crops: str, form=CPU_CONFIG):
    spec = AugmentSpec(resize=SIDE + MARGIN, crop=SIDE, mean=net.input.mean, std=net.input.std)
    metadata = GraphMetadata(
        classes=CLASSES, spec=spec, model=net.spec.name, crops=crops, version="0", provenance={}
    )
    return spec, build_model(net, metadata, form)


@pytest.mark.parametrize("name", model_names())
def test_answers_as_pytorch_does(name, sharpen, make_images):
    torch.manual_seed(0)
    net, images = small(name), make_images(3, SIDE + MARGIN)
    for crops in ("ten", "single"):
        spec, _ = written(net, crops)
        sharpen(net, images, spec)
        spec, model = written(net, crops)
        session = onnxruntime.InferenceSession(serialize(model), providers=["CPUExecutionProvider"])
        (got,) = session.run(["probabilities"], {"images": images})
        with torch.inference_mode():
            want = crop_probabilities(net, torch.from_numpy(images), spec, crops).numpy()
        assert np.abs(got - want).max() < 1e-4
        assert want.std(axis=0).max() > 1e-3, "the test needs images that differ"
        _, half = written(net, crops, for_tensorrt("fp16"))
        assert half.graph.node[0].op_type == "Cast"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vgg16", "the ten crops share conv1_1 to"),
        ("alexnet-same", "share conv1 to norm1: pool1 rounds up, and so pads crops and images differently"),
        ("alexnet-bn-caltech", "the ten crops share conv1 to"),
        ("convnet-32", "the ten crops share conv1 to relu4: average takes whole crops"),
        ("mlp", "the ten crops share nothing: flatten takes whole crops"),
        ("linear", "the ten crops share nothing: flatten takes whole crops"),
    ],
)
def test_it_says_what_the_crops_share(name, sentence):
    net = small(name)
    spec = AugmentSpec(resize=SIDE + MARGIN, crop=SIDE)
    assert sentence in plan_stem(read_layers(net), spec, eager=True).describe()


def test_a_pool_that_rounds_up_in_another_network(make_images):
    """Even and odd sides, with and without padding, as torch has them."""
    for side, pool in (
        (8, nn.MaxPool2d(3, 2, ceil_mode=True)),
        (7, nn.MaxPool2d(3, 2, ceil_mode=True)),
        (7, nn.MaxPool2d(2, 2, padding=1, ceil_mode=True)),
        (9, nn.MaxPool2d(3, 4, padding=1, ceil_mode=True)),
        (6, nn.MaxPool2d(2, 4, ceil_mode=True)),
    ):
        maps = pool(torch.zeros(1, 3, side, side)).shape[-1]
        net = nn.Sequential()
        net.add_module("pool1", pool)
        net.add_module("flatten", nn.Flatten())
        net.add_module("fc2", nn.Linear(3 * maps * maps, 3))
        spec = AugmentSpec(resize=side, crop=side, std=(50.0, 50.0, 50.0))
        metadata = GraphMetadata(
            classes=CLASSES, spec=spec, model="x", crops="single", version="0", provenance={}
        )
        session = onnxruntime.InferenceSession(
            serialize(build_model(net, metadata)), providers=["CPUExecutionProvider"]
        )
        images = make_images(2, side)
        (got,) = session.run(None, {"images": images})
        with torch.inference_mode():
            want = crop_probabilities(net, torch.from_numpy(images), spec, "single").numpy()
        np.testing.assert_allclose(got, want, atol=1e-6)


def test_a_network_without_room_for_ten_crops_says_so():
    net = network_of(dataclasses.replace(model_spec("vgg16-64"), hidden=16), 3).eval()
    spec = AugmentSpec(resize=64, crop=64)
    metadata = GraphMetadata(
        classes=CLASSES, spec=spec, model="vgg16-64", crops="ten", version="0", provenance={}
    )
    with pytest.raises(UserError, match="ten crops need an image larger"):
        build_model(net, metadata)
