"""The shared stem is the plain graph, computed once where crops overlap; where it cannot be, it says why."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from alexnet_fast.export.config import GraphConfig
from alexnet_fast.export.layers import read_layers
from alexnet_fast.export.onnx import stem_plan
from alexnet_fast.export.onnx.model import build_model, serialize
from alexnet_fast.export.onnx.stem_plan import plan_stem
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.runtime.metadata import GraphMetadata


def run(net, spec, images, stem, classes=5):
    metadata = GraphMetadata(
        classes=tuple(map(str, range(classes))),
        spec=spec,
        model="x",
        crops="ten",
        version="0",
        provenance={},
    )
    form = GraphConfig(stem=stem, extras=("logits",))
    model = build_model(net, metadata, form)
    session = onnxruntime.InferenceSession(serialize(model), providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "logits"], {"images": images})


def shared(net, spec, *, eager=True):
    plan = plan_stem(read_layers(net), spec, eager=eager)
    return [layer.name for stage in plan.stages for layer in stage.layers], plan


def spec_of(net, resize, crop):
    return AugmentSpec(resize=resize, crop=crop, mean=net.input.mean, std=net.input.std)


def assert_same(net, spec, images):
    """At most 1e-6 of the largest number: the probabilities, and the logits that softmax would hide."""
    for got, want in zip(run(net, spec, images, "eager"), run(net, spec, images, "plain"), strict=True):
        assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max()
        assert want.std(axis=0).max() > 1e-3, "the test needs images that differ"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("alexnet", "alexnet-dense", "alexnet-bn", "alexnet-owt")
    ],
)
def test_every_large_network_shares_to_its_second_convolution(name, sharpen, make_images):
    torch.manual_seed(0)
    net = create_model(name, 5)
    spec, images = spec_of(net, 256, 224), make_images(2, 256)
    sharpen(net, images, spec)
    names, plan = shared(net, spec, eager=False)
    assert names[0] == "conv1"
    assert "conv2" in names
    assert "share conv1 to" in plan.describe()
    assert_same(net, spec, images)


@pytest.mark.slow
def test_caffenet_shares_where_the_crops_lie_on_its_grid(sharpen, make_images):
    torch.manual_seed(0)
    net = create_model("caffenet", 5)
    _, plan = shared(net, spec_of(net, 256, 227))
    assert plan.describe() == (
        "the ten crops share nothing: crops begin at 0, 14 and 29 in the input of conv1, and its stride is 4"
    )
    spec, images = spec_of(net, 259, 227), make_images(2, 259)
    sharpen(net, images, spec)
    assert shared(net, spec)[0][:4] == ["conv1", "relu1", "pool1", "norm1"]
    assert_same(net, spec, images)


@pytest.mark.parametrize(
    ("name", "resize", "last"),
    [
        ("alexnet-64", 72, "relu2"),
        pytest.param("alexnet-bn-64", 66, None, marks=pytest.mark.slow),
        pytest.param("alexnet-64", 80, "relu3", marks=pytest.mark.slow),
        pytest.param("alexnet-64", 66, None, marks=pytest.mark.slow),
        pytest.param("alexnet-bn-64", 72, "relu2", marks=pytest.mark.slow),
        pytest.param("alexnet-bn-64", 80, "relu3", marks=pytest.mark.slow),
    ],
)
def test_small_networks_share_as_deep_as_the_margin_divides(name, resize, last, sharpen, make_images):
    torch.manual_seed(0)
    net = create_model(name, 5)
    spec, images = spec_of(net, resize, 64), make_images(3, resize)
    sharpen(net, images, spec)
    names, _ = shared(net, spec)
    assert (names[-1] if names else None) in (last, "norm2" if last == "relu2" else last)
    assert_same(net, spec, images)


ODD = {
    "no padding at all": [nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.MaxPool2d(2)],
    "pooling that pads": [nn.Conv2d(3, 8, 3, 1, 1), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)],
    "pooling first": [nn.MaxPool2d(2), nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1)],
    "dilation": [nn.Conv2d(3, 8, 3, 2, 2, dilation=2), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 2, dilation=2)],
    "uneven padding": [nn.Conv2d(3, 8, 4, padding="same"), nn.Conv2d(8, 8, 2, padding="same")],
    "wide padding": [nn.Conv2d(3, 8, 7, 4, 3), nn.ReLU(), nn.Conv2d(8, 8, 5, 1, 2)],
    "groups": [nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1, groups=4), nn.ReLU()],
    "other rows": [nn.Conv2d(3, 8, (3, 5), 2, (1, 2)), nn.ReLU()],
    "batch norm between": [nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.BatchNorm2d(8), nn.MaxPool2d(3, 2)],
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("what", ODD)
def test_other_geometries(what, sharpen, make_images):
    torch.manual_seed(3)
    layers = OrderedDict((f"l{i}", layer) for i, layer in enumerate(ODD[what]))
    net = nn.Sequential(OrderedDict(**layers, flatten=nn.Flatten(), fc=nn.LazyLinear(5)))
    spec, images = AugmentSpec(resize=64, crop=48, std=(50.0, 60.0, 70.0)), make_images(3, 64)
    net(torch.zeros(1, 3, 48, 48))
    sharpen(net, images, spec)
    assert bool(shared(net, spec)[0]) == (what not in ("other rows",))
    assert_same(net, spec, images)


def test_sharing_counts_the_operations_that_it_saves():
    net, spec = create_model("alexnet", 5), AugmentSpec()
    _, plan = shared(net, spec, eager=False)
    conv2 = next(stage for stage in plan.stages if stage.layers[0].name == "conv2")
    assert (conv2.after.image, conv2.after.crop) == (31, 27)
    assert (conv2.after.low, conv2.after.high) == (3, 3), "pooled padding and two pixels of its own"
    # 3,722 if the corners were not computed twice.
    plain, strips = 10 * 27**2, 2 * (31**2 + 12 * 3 * 27)
    fewer = (plain - strips) * 5 * 5 * 48 * 256
    copied = 10 * 27**2 * 256
    assert fewer - conv2.macs_saved == copied * stem_plan._MACS_PER_COPY + stem_plan._MACS_PER_STAGE
    assert conv2.macs_saved > 0, "or it would not be shared"


@pytest.mark.slow
def test_the_graph_of_two_stems_is_named_by_place():
    net, spec = create_model("alexnet", 5), AugmentSpec()
    metadata = GraphMetadata(
        classes=tuple("abcde"), spec=spec, model="alexnet", crops="ten", version="0", provenance={}
    )
    model = build_model(net, metadata, GraphConfig(stem="shared"))
    names = {node.name for node in model.graph.node}
    assert {"conv1", "conv1/top", "conv1/left", "norm2/crop4", "fc8"} <= names
    assert len(names) == len(model.graph.node)
    weights = [tensor.name for tensor in model.graph.initializer]
    assert weights.count("conv2.weight") == 1, "every place uses the same weights"
    assert serialize(model) == serialize(build_model(net, metadata, GraphConfig(stem="shared")))
