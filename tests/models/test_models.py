"""The networks by name: their layers, inputs and options."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.models import LocalResponseNorm, Network, create_model, layer_table, model_names, model_spec

SMALL = [name for name in model_names() if name.endswith("-64")]
KINDS = (
    nn.Conv2d,
    nn.ReLU,
    LocalResponseNorm,
    nn.BatchNorm1d,
    nn.AdaptiveAvgPool2d,
    nn.BatchNorm2d,
    nn.ZeroPad2d,
    nn.MaxPool2d,
    nn.Flatten,
    nn.Linear,
    nn.Dropout,
)
HEAD = "flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
LAYERS = {
    "alexnet": "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
    + HEAD,
    "caffenet": "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
    + HEAD,
    "alexnet-bn": (
        "conv1 bn1 relu1 pool1 conv2 bn2 relu2 pool2 conv3 bn3 relu3 conv4 bn4 relu4 conv5 bn5 relu5 pool5 "
        "flatten fc6 bn6 relu6 drop6 fc7 bn7 relu7 drop7 fc8"
    ),
    "alexnet-owt": (
        "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 "
        "flatten drop5 fc6 relu6 drop6 fc7 relu7 fc8"
    ),
}
for same in ("alexnet-dense", "alexnet-caffe"):
    LAYERS[same] = LAYERS["alexnet"]
LAYERS["alexnet-same"] = "pad1 " + LAYERS["alexnet"]
LAYERS["alexnet-bn-caltech"] = (
    "conv1 relu1 bn1 pool1 drop1 conv2 relu2 bn2 pool2 drop2 conv3 relu3 bn3 conv4 relu4 bn4 conv5 relu5 bn5 "
    "pool5 drop5 flatten fc6 relu6 bn6 drop6 fc7 relu7 bn7 drop7 fc8"
)
LAYERS["vgg16-64"] = (
    "conv1_1 relu1_1 conv1_2 relu1_2 pool1 conv2_1 relu2_1 conv2_2 relu2_2 pool2 "
    "conv3_1 relu3_1 conv3_2 relu3_2 conv3_3 relu3_3 pool3 conv4_1 relu4_1 conv4_2 relu4_2 conv4_3 relu4_3 "
    "pool4 flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
)
LAYERS["vgg16"] = LAYERS["vgg16-64"].replace(
    "flatten", "conv5_1 relu5_1 conv5_2 relu5_2 conv5_3 relu5_3 pool5 flatten"
)
LAYERS["mlp"] = "flatten fc1 relu1 fc2"
LAYERS["linear"] = "flatten fc1"
LAYERS["convnet-32"] = (
    "conv1 bn1 relu1 pool1 conv2 bn2 relu2 pool2 conv3 bn3 relu3 pool3 conv4 bn4 relu4 "
    "average flatten drop fc"
)
for same in ("convnet-64", "convnet-96"):
    LAYERS[same] = LAYERS["convnet-32"].replace("average", "pool4 conv5 bn5 relu5 average")


def on_meta(name: str, num_classes: int = 1000, **options) -> Network:
    """A network without memory for its weights."""
    with torch.device("meta"):
        return create_model(name, num_classes, **options)


def test_the_names():
    large = ("alexnet", "alexnet-dense", "alexnet-bn", "alexnet-owt", "caffenet")
    wide = (f"{name}-227" for name in large if name != "caffenet")
    others = ("alexnet-caffe", "alexnet-same", "alexnet-bn-caltech", "vgg16", "vgg16-64", "mlp", "linear")
    small = ("convnet-32", "convnet-64", "convnet-96")
    assert model_names() == (*large, *(f"{name}-64" for name in large), *wide, *others, *small)
    assert [model_spec(name).name for name in model_names()] == list(model_names())


@pytest.mark.parametrize("name", model_names())
def test_the_layers_have_caffes_names_in_order(name):
    net = on_meta(name)
    plain = name if name in LAYERS else name.removesuffix("-64").removesuffix("-227")
    assert " ".join(dict(net.named_children())) == LAYERS[plain]
    assert LAYERS[plain].endswith(net.last)
    assert all(type(layer) in KINDS for layer in net)


def test_groups_are_where_the_paper_cuts_the_network():
    assert [on_meta("alexnet").get_submodule(f"conv{i}").groups for i in range(1, 6)] == [1, 2, 1, 2, 2]
    for name in ("alexnet-dense", "alexnet-bn", "alexnet-owt"):
        assert {layer.groups for layer in on_meta(name) if isinstance(layer, nn.Conv2d)} == {1}


def sides(net: Network) -> list[int]:
    """Sides of the maps that the pools leave, and of conv1's before them."""
    rows = {row.name: row.output_shape for row in layer_table(net)}
    return [rows[name][1] for name in ("conv1", "pool1", "pool2", "pool5")]


def test_the_maps_of_systems_that_pad_differently():
    """The table of the AlexNet-BN for Caltech256; the TensorFlow AlexNet's 56, 28, 14, 7."""
    assert sides(on_meta("alexnet-bn-caltech", 256)) == [57, 28, 13, 6]
    assert sides(on_meta("alexnet-same")) == [56, 28, 14, 7]
    assert on_meta("alexnet-same").fc6.in_features == 7 * 7 * 256
    for name in ("alexnet-227", "alexnet-caffe", "caffenet", "alexnet"):
        assert sides(on_meta(name)) == [55, 27, 13, 6]


@pytest.mark.parametrize("side", [33, 34, 35, 36, 47, 48, 64])
def test_same_padding_leaves_ceil_of_side_over_stride(side):
    net = on_meta("alexnet-same", image_size=side)
    wanted = [-(-side // divisor) for divisor in (4, 8, 16, 32)]
    assert sides(net) == wanted
    assert net(torch.empty(2, 3, side, side, device="meta")).shape == (2, 1000)


def test_same_padding_puts_the_odd_pixel_behind():
    """As TensorFlow: 7 pixels around 224 for an 11x11 kernel of stride 4, 3 of them before and 4 behind."""
    net = on_meta("alexnet-same")
    assert net.pad1.padding == (3, 4, 3, 4)
    assert net.conv1.padding == (0, 0)
    assert (net.norm1.size, net.norm1.alpha, net.norm1.beta, net.norm1.k) == (11, 11.0, 0.5, 1.0)
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert net.pool1(x).tolist() == [[[[10, 11], [14, 15]]]], "windows of rows 0-2 and 2-3"


def test_vgg_for_tiny_imagenet_is_less_three_convolutions_and_a_pool():
    convs = {
        name: sum(isinstance(layer, nn.Conv2d) for layer in on_meta(name)) for name in ("vgg16", "vgg16-64")
    }
    assert convs == {"vgg16": 13, "vgg16-64": 10}
    assert (on_meta("vgg16").fc6.in_features, on_meta("vgg16-64").fc6.in_features) == (25088, 4 * 4 * 512)
    # Simonyan and Zisserman, table 2, column D: 138 million.
    assert sum(p.numel() for p in on_meta("vgg16").parameters()) == 138_357_544


def test_the_baselines():
    mlp, linear = on_meta("mlp", 200), on_meta("linear", 200)
    assert [(row.name, row.output_shape) for row in layer_table(mlp)] == [
        ("flatten", (3 * 64 * 64,)), ("fc1", (1024,)), ("relu1", (1024,)), ("fc2", (200,))
    ]  # fmt: skip
    assert sum(p.numel() for p in linear.parameters()) == 3 * 64 * 64 * 200 + 200


def test_pooling_overlaps_and_rounds_down():
    pools = [layer for layer in on_meta("alexnet") if isinstance(layer, nn.MaxPool2d)]
    assert [(p.kernel_size, p.stride, p.padding, p.ceil_mode) for p in pools] == [(3, 2, 0, False)] * 3


def test_lrn_numbers():
    def numbers(net):
        return (net.norm1.size, net.norm2.alpha, net.norm1.beta, net.norm2.k)

    assert numbers(on_meta("alexnet")) == (5, 5e-4, 0.75, 2.0)
    assert numbers(on_meta("caffenet")) == (5, 1e-4, 0.75, 1.0)
    assert numbers(on_meta("alexnet", lrn_k=1, lrn_alpha=1e-4)) == (5, 1e-4, 0.75, 1)


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_gets_a_gradient_in_channels_last(name):
    net = create_model(name, 4).to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, 64, 64).mul(50).contiguous(memory_format=torch.channels_last)
    nn.functional.cross_entropy(net(x), torch.arange(4)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_gives_the_same_logits(name):
    net = create_model(name, 7).eval()
    x = torch.randn(2, 3, 64, 64).mul(50)
    with torch.no_grad():
        y = net(x)
        y_last = net.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert y.shape == (2, 7)
    torch.testing.assert_close(y_last, y, rtol=1e-4, atol=1e-4 * float(y.abs().max()))


def test_flatten_orders_by_channel_row_column():
    x = torch.arange(2 * 3 * 2 * 2).view(2, 3, 2, 2)
    flatten = on_meta("alexnet").flatten
    assert torch.equal(flatten(x.contiguous(memory_format=torch.channels_last)), x.view(2, 12))


def test_the_inputs():
    caffe, owt, small = (on_meta(name).input for name in ("caffenet", "alexnet-owt", "alexnet-bn-64"))
    paper = on_meta("alexnet").input
    assert (paper.crop, paper.resize, paper.mean, paper.std) == (
        224,
        256,
        (127.30, 119.72, 104.91),
        (1, 1, 1),
    )
    assert (caffe.crop, caffe.resize, caffe.mean) == (227, 256, paper.mean)
    assert owt.mean == pytest.approx([255 * m for m in (0.485, 0.456, 0.406)])
    assert owt.std == pytest.approx([255 * s for s in (0.229, 0.224, 0.225)])
    assert (small.crop, small.resize, small.mean) == (64, 64, owt.mean)


def test_overrides_are_kept_in_the_spec():
    net = on_meta("alexnet", 5, image_size=227, lrn_k=1.0, lrn_alpha=1e-4, dropout=0.1)
    assert (net.spec.input.crop, net.spec.lrn.k, net.spec.lrn.alpha, net.spec.dropout) == (
        227,
        1.0,
        1e-4,
        0.1,
    )
    assert (net.num_classes, net.fc8.out_features) == (5, 5)
    assert {layer.p for layer in net if isinstance(layer, nn.Dropout)} == {0.1}
    assert model_spec("alexnet").input.crop == 224
    assert on_meta("alexnet", image_size=288).input.resize == 288


def test_specs_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        model_spec("alexnet").dropout = 0.1


def test_a_slice_is_a_network_of_the_same_layers_and_a_copy_is_its_own():
    net = create_model("alexnet-64", 3)
    features = net[:15]
    assert list(dict(features.named_children()))[-1] == "pool5"
    assert features[0] is net.conv1
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.spec == net.spec
        assert torch.equal(twin.fc8.weight, net.fc8.weight)
        assert twin.fc8.weight is not net.fc8.weight


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("alexnet-dens",), {}, "--model alexnet-dens: no such model; did you mean alexnet-dense"),
        (("resnet50",), {}, "choose from alexnet, alexnet-dense, alexnet-bn"),
        (("alexnet", 1), {}, "--model alexnet for 1 class"),
        (("alexnet",), {"image_size": 40}, "--crop 40 leaves --model alexnet no pixel.*smallest.* is 64"),
        (("alexnet-64",), {"image_size": 20}, "--crop 20 .*smallest.* is 30"),
        (("alexnet-bn",), {"lrn_k": 1.0}, "--model alexnet-bn has no LRN"),
        (("alexnet",), {"lrn_k": 0.0}, "lrn_k is 0"),
        (("alexnet",), {"dropout": 1.0}, "dropout is 1"),
        (("linear",), {"dropout": 0.1}, "--model linear has no dropout"),
        (("vgg16",), {"lrn_k": 1.0}, "--model vgg16 has no LRN"),
        (("vgg",), {}, "no such model; did you mean vgg16"),
        (("vgg16",), {"image_size": 31}, "--crop 31 .*smallest.* is 32"),
        (("alexnet",), {"init": "he"}, "--init he: no such initialisation.*choose from paper, kaiming"),
    ],
)
def test_mistakes_end_in_one_line_that_names_the_option(arguments, options, message):
    with pytest.raises(UserError, match=message) as caught:
        create_model(*arguments, **options)
    assert caught.value.exit_code == 2


def test_the_smallest_image_is_read():
    net = on_meta("alexnet-64", 2, image_size=30).eval()
    assert net(torch.empty(1, 3, 30, 30, device="meta")).shape == (1, 2)
