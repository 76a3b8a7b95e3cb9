"""A positive list decides who writes a network: exactly torch's classes and ours, nothing hung on them."""

from __future__ import annotations

import types

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations

from alexnet_fast.errors import UserError
from alexnet_fast.export.layers import Conv, Pad, Relu, UnknownLayerError, read, read_layers
from alexnet_fast.export.net_copy import evaluation_copy
from alexnet_fast.models import create_model


def chain(*middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3), *middle, nn.Flatten(), nn.Linear(4, 2))


def with_hook(register: str) -> nn.Sequential:
    net = chain(nn.ReLU())
    getattr(net[1], register)(lambda *_: None)
    return net


def with_own(name: str) -> nn.Sequential:
    net = chain(nn.Conv2d(8, 8, 3))
    setattr(net[1], name, types.MethodType(lambda *_: None, net[1]))
    return net


class Scaled(nn.Sequential):
    def forward(self, x):
        return super().forward(x * 3)


class Reversed(nn.Sequential):
    def __iter__(self):
        return reversed(list(super().__iter__()))


class Called(nn.Sequential):
    def __call__(self, x):
        return super().__call__(x) * 2


class Absolute(nn.Conv2d):
    def forward(self, x):
        return super().forward(x).abs()


class OnlyMade(nn.Sequential):
    """A network of the user's that is made as it is called, and computes as torch's does."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 2, 32), nn.Flatten())


ReLU = type("ReLU", (nn.Module,), {"forward": lambda self, x: x.clamp(-1, 1)})
Flatten = type("Flatten", (nn.Module,), {"forward": lambda self, x: x.reshape(len(x), -1)})


def typed() -> nn.Sequential:
    net = chain(nn.BatchNorm2d(8))
    net[1].running_mean = net[1].running_mean.double()
    return net


UNKNOWN = {
    "a hook": (lambda: with_hook("register_forward_hook"), "layer 1 (ReLU) has a forward hook"),
    "a hook before": (lambda: with_hook("register_forward_pre_hook"), "layer 1 (ReLU) has a forward hook"),
    "a forward of its own": (lambda: with_own("forward"), "layer 1 (Conv2d) has a forward of its own"),
    "a method of its own": (lambda: with_own("_conv_forward"), "layer 1 (Conv2d) has a _conv_forward of its"),
    "a subclass": (
        lambda: chain(Absolute(8, 8, 3)),
        "layer 1 (Absolute) is of a class that it does",
    ),
    "a namesake": (lambda: chain(ReLU()), "layer 1 (test_exact_layers.ReLU) is of a class that it does not"),
    "another namesake": (lambda: chain(Flatten()), "layer 1 (test_exact_layers.Flatten) is of a class"),
    "a forward": (lambda: Scaled(*chain()), "the network (Scaled) is not a plain torch.nn.Sequential"),
    "an order": (lambda: Reversed(*chain()), "the network (Reversed) is not a plain torch.nn.Sequential"),
    "a call": (lambda: Called(*chain()), "the network (Called) is not a plain torch.nn.Sequential"),
    "no sequence": (lambda: nn.Linear(2, 2), "the network (Linear) is not a plain torch.nn.Sequential"),
    "inside": (lambda: chain(Called(nn.ReLU())), "layer 1 (Called) is of a class that it does not know"),
    "weight norm": (
        lambda: chain(parametrizations.weight_norm(nn.Conv2d(8, 8, 3))),
        "layer 1 (ParametrizedConv2d) is of a class that it does not know",
    ),
    "old weight norm": (
        lambda: chain(nn.utils.weight_norm(nn.Conv2d(8, 8, 3))),
        "layer 1 (Conv2d) has a forward",
    ),
    "several types": (typed, "layer 1 (BatchNorm2d) has weights of several types"),
    "statistics": (
        lambda: chain(nn.BatchNorm2d(8, track_running_stats=False)),
        "layer 1 (BatchNorm2d) keeps no running statistics",
    ),
    "an even window": (
        lambda: chain(nn.LocalResponseNorm(4)),
        "layer 1 (LocalResponseNorm) has a window",
    ),
    "dilation": (
        lambda: chain(nn.MaxPool2d(3, dilation=2)),
        "layer 1 (MaxPool2d) has return_indices",
    ),
    "indices": (
        lambda: chain(nn.MaxPool2d(3, return_indices=True)),
        "layer 1 (MaxPool2d) has return_indices",
    ),
    "reflect": (
        lambda: chain(nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")),
        "layer 1 (Conv2d) has the padding_mode 'reflect'",
    ),
    "a list": (lambda: chain(nn.MaxPool2d([3])), "layer 1 (MaxPool2d) has the kernel_size [3]"),
    "negative": (
        lambda: chain(nn.ZeroPad2d((-1, 0, 0, 0)), nn.Conv2d(8, 8, 3)),
        "layer 1 (ZeroPad2d) has a negative padding",
    ),
    "padding alone": (
        lambda: chain(nn.ZeroPad2d(1)),
        "layer 1 (ZeroPad2d) is not directly in front of",
    ),
    "flatten": (
        lambda: chain(nn.Flatten(2)),
        "layer 1 (Flatten) does not flatten everything",
    ),
    "softmax": (lambda: nn.Sequential(*chain(), nn.Softmax(1)), "layer 3 (Softmax) is of a class"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_layer_is_named(kind):
    make, said = UNKNOWN[kind]
    with pytest.raises(UnknownLayerError) as caught:
        read_layers(make().eval())
    assert f"{caught.value.layer} {caught.value.why}".startswith(said)


def test_a_hook_of_all_modules():
    handle = register_module_forward_hook(lambda *_: None)
    try:
        assert read(chain()).unknown.why == "runs under a forward hook of all modules"
    finally:
        handle.remove()
    assert read(chain()).unknown is None


def test_a_class_whose_forward_was_replaced(monkeypatch):
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x)
    assert read(chain(nn.ReLU())).unknown.why == "is of a class whose forward was replaced"


def test_a_layer_that_occurs_twice_is_read_twice():
    conv, relu = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()
    kinds = [type(layer) for layer in read_layers(chain(conv, relu, conv, relu))]
    assert kinds[1:5] == [Conv, Relu, Conv, Relu]


@pytest.mark.parametrize("name", ["linear", "convnet-64"])
def test_our_networks_are_known(name):
    assert read(create_model(name, 2)).unknown is None
    assert read(OnlyMade()).unknown is None


@pytest.mark.slow
def test_a_compiled_network_is_unwrapped():
    net = chain(nn.ReLU())
    assert read(evaluation_copy(torch.compile(net))).unknown is None
    net.compile()
    assert read(net).unknown is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda net: net[0].weight.data.fill_(float("nan")), "layer 0 has weights that are not finite"),
        (lambda net: net[0].weight.data[0].fill_(float("inf")), "layer 0 has weights that are not finite"),
        (lambda net: net[1].running_var.fill_(-1), "layer 1 divides by the root of a variance that is zero"),
        (lambda net: net[1].running_mean.fill_(float("nan")), "layer 1 has weights that are not finite"),
        (lambda net: net.append(nn.LazyLinear(3)), "layer 4 has no weights yet"),
        (lambda net: net[3].to("meta"), "layer 3 has no weights yet"),
    ],
)
def test_weights_that_are_missing_or_not_finite_are_named(change, said):
    net = chain(nn.BatchNorm2d(8))
    change(net)
    with pytest.raises(UserError, match=said) as caught:
        read_layers(net)
    assert not isinstance(caught.value, UnknownLayerError)


def test_one_layer_left_in_training_mode_is_named():
    net = chain(nn.Dropout()).train()
    assert not evaluation_copy(net).training, "all of it is merely not evaluated yet"
    net.eval()[1].train()
    with pytest.raises(UserError, match=r"layer 1 \(Dropout\) is in training mode, and the network around"):
        evaluation_copy(net)


def test_padding_is_no_layer():
    layers = read_layers(chain(nn.ZeroPad2d(1), nn.Conv2d(8, 8, 3)))
    assert not any(isinstance(layer, Pad) for layer in layers)
