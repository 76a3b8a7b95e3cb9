"""Every layer's shape, parameters and multiply-accumulate operations, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from alexnet_fast.models import LayerRow, create_model, layer_table, model_names

# Kernel height x kernel width x channels that a kernel sees x kernels x places, of figure 2 and section 3.5
# of the paper; groups halve the channels that conv2, conv4 and conv5 see.
ALEXNET_MACS = {
    "conv1": 11 * 11 * 3 * 96 * 55 * 55,
    "conv2": 5 * 5 * 48 * 256 * 27 * 27,
    "conv3": 3 * 3 * 256 * 384 * 13 * 13,
    "conv4": 3 * 3 * 192 * 384 * 13 * 13,
    "conv5": 3 * 3 * 192 * 256 * 13 * 13,
    "fc6": 6 * 6 * 256 * 4096,
    "fc7": 4096 * 4096,
    "fc8": 4096 * 1000,
}
ALEXNET_PARAMETERS = {
    "conv1": 11 * 11 * 3 * 96 + 96,
    "conv2": 5 * 5 * 48 * 256 + 256,
    "conv3": 3 * 3 * 256 * 384 + 384,
    "conv4": 3 * 3 * 192 * 384 + 384,
    "conv5": 3 * 3 * 192 * 256 + 256,
    "fc6": 6 * 6 * 256 * 4096 + 4096,
    "fc7": 4096 * 4096 + 4096,
    "fc8": 4096 * 1000 + 1000,
}
ALEXNET_SHAPES = {
    "conv1": (96, 55, 55),
    "relu1": (96, 55, 55),
    "norm1": (96, 55, 55),
    "pool1": (96, 27, 27),
    "conv2": (256, 27, 27),
    "relu2": (256, 27, 27),
    "norm2": (256, 27, 27),
    "pool2": (256, 13, 13),
    "conv3": (384, 13, 13),
    "relu3": (384, 13, 13),
    "conv4": (384, 13, 13),
    "relu4": (384, 13, 13),
    "conv5": (256, 13, 13),
    "relu5": (256, 13, 13),
    "pool5": (256, 6, 6),
    "flatten": (9216,),
    "fc6": (4096,),
    "relu6": (4096,),
    "drop6": (4096,),
    "fc7": (4096,),
    "relu7": (4096,),
    "drop7": (4096,),
    "fc8": (1000,),
}


def by_name(name: str, **options) -> dict[str, LayerRow]:
    with torch.device("meta"):
        return {row.name: row for row in layer_table(create_model(name, **options))}


@pytest.mark.parametrize("image_size", [224, 227])
def test_alexnet_layer_by_layer(image_size):
    rows = by_name("alexnet", image_size=image_size)
    assert {name: row.output_shape for name, row in rows.items()} == ALEXNET_SHAPES
    assert {name: row.macs for name, row in rows.items() if row.macs} == ALEXNET_MACS
    assert {name: row.parameters for name, row in rows.items() if row.parameters} == ALEXNET_PARAMETERS


def test_alexnet_in_total():
    rows = by_name("alexnet").values()
    assert sum(row.parameters for row in rows) == 60_965_224
    # conv1 to conv5: 105,415,200 + 223,948,800 + 149,520,384 + 112,140,288 + 74,760,192;
    # fc6 to fc8: 37,748,736 + 16,777,216 + 4,096,000.
    assert sum(row.macs for row in rows) == 724_406_816


def test_kinds_are_the_classes_of_the_modules():
    kinds = [row.kind for row in by_name("alexnet").values()]
    assert kinds[:4] == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"]
    assert kinds[-8:] == ["Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("alexnet-dense", 62_378_344),  # 1.4 million more where the groups were
        ("alexnet-bn", 62_378_344 + 2 * (96 + 256 + 384 + 384 + 256 + 4096 + 4096)),
        ("alexnet-owt", 61_100_840),  # torchvision's documentation of AlexNet_Weights
        ("caffenet", 60_965_224),
    ],
)
def test_parameters_of_the_others(name, parameters):
    assert sum(row.parameters for row in by_name(name).values()) == parameters


@pytest.mark.parametrize(("image_size", "sides"), [(64, [32, 15, 7, 3]), (56, [28, 13, 6, 2])])
def test_the_maps_of_the_small_form(image_size, sides):
    rows = by_name("alexnet-64", image_size=image_size)
    assert [rows[name].output_shape for name in ("conv1", "pool1", "pool2", "pool5")] == [
        (channels, side, side) for channels, side in zip((96, 96, 256, 256), sides, strict=True)
    ]


@pytest.mark.parametrize("name", [name for name in model_names() if name.endswith("-64")])
def test_the_table_says_what_the_layers_do(name):
    net = create_model(name, 10).eval()
    x = torch.zeros(2, 3, net.input.crop, net.input.crop)
    for row, layer in zip(layer_table(net), net, strict=True):
        x = layer(x)
        assert x.shape[1:] == row.output_shape, row.name
        assert sum(p.numel() for p in layer.parameters()) == row.parameters


def test_the_table_for_another_image():
    with torch.device("meta"):
        net = create_model("alexnet")
    assert {r.name: r.output_shape for r in layer_table(net, 288)}["pool5"] == (256, 8, 8)
