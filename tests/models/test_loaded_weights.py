"""Weights from elsewhere: torchvision's, and our own inside another module."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from alexnet_fast.models import create_model


def torchvision_layout(num_classes: int) -> nn.Sequential:
    """The layers of torchvision.models.alexnet under its names (torchvision/models/alexnet.py)."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(),
        nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, num_classes),
    )  # fmt: skip
    net = nn.Sequential()
    for name, part in (
        ("features", features),
        ("avgpool", nn.AdaptiveAvgPool2d(6)),
        ("flatten", nn.Flatten()),
    ):
        net.add_module(name, part)
    net.add_module("classifier", classifier)
    return net


def test_torchvisions_weights_load_and_give_its_logits():
    theirs = torchvision_layout(10).eval()
    weights = theirs.state_dict()
    ours = create_model("alexnet-owt", 10).eval()
    ours.load_state_dict(weights)
    assert "features.0.weight" in weights  # the caller's dictionary stays as it was
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_torchvisions_vgg_loads_and_gives_its_logits():
    """The layers of torchvision.models.vgg16 under its names (torchvision/models/vgg.py, cfgs "D")."""
    features: list[nn.Module] = []
    channels = 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        features += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2, 2)]
        channels = width or channels
    classifier = nn.Sequential(
        nn.Linear(512, 4096), nn.ReLU(), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 5),
    )  # fmt: skip
    theirs = nn.Sequential()
    for name, part in (
        ("features", nn.Sequential(*features)),
        ("flatten", nn.Flatten()),
        ("classifier", classifier),
    ):
        theirs.add_module(name, part)
    ours = create_model("vgg16", 5, image_size=32).eval()
    ours.load_state_dict(theirs.eval().state_dict())
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_our_own_weights_load_also_inside_another_module():
    net = create_model("alexnet-owt-64", 3)
    twin = nn.ModuleDict({"net": create_model("alexnet-owt-64", 3)})
    twin.load_state_dict({f"net.{key}": value for key, value in net.state_dict().items()})
    assert torch.equal(twin["net"].fc6.weight, net.fc6.weight)


def test_weights_of_another_number_of_classes_are_refused_by_name():
    with pytest.raises(RuntimeError, match=r"fc8\.weight.*\[10, 4096\].*\[4, 4096\]"):
        create_model("alexnet-owt-64", 4).load_state_dict(create_model("alexnet-owt-64", 10).state_dict())
