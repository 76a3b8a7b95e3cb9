"""A small network of the family, its images and its description, for the export tests."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from alexnet_fast.pipelines.spec import IMAGENET_MEAN, AugmentSpec
from alexnet_fast.runtime.metadata import GraphMetadata
from sharpened import sharpen

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = ("ant", "bee", "café, noir", "dog", "eel")


def make_images(count: int, side: int, seed: int = 3) -> np.ndarray:
    """Colour gradients with noise, each from other corners: uint8 (count, side, side, 3)."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 255, (count, 2, 2, 3))
    t = np.linspace(0, 1, side)
    weights = np.stack([1 - t, t])
    smooth = np.einsum("nabc,ai,bj->nijc", corners, weights, weights)
    return (smooth + random.normal(0, 20, smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session", name="sharpen")
def sharpen_fixture() -> Callable[..., nn.Sequential]:
    return sharpen


@pytest.fixture(scope="session", name="make_images")
def make_images_fixture() -> Callable[..., np.ndarray]:
    return make_images


@pytest.fixture(scope="session")
def small_spec() -> AugmentSpec:
    # An odd margin: the centre is not in the middle.
    return AugmentSpec(resize=43, crop=32, mean=IMAGENET_MEAN, std=(50.0, 60.0, 70.0))


@pytest.fixture(scope="session")
def images(small_spec: AugmentSpec) -> np.ndarray:
    return make_images(11, small_spec.resize)


@pytest.fixture
def small_net(images: np.ndarray, small_spec: AugmentSpec) -> nn.Sequential:
    """Every kind of layer, groups and an LRN with the paper's constants included."""
    torch.manual_seed(1)
    layers = OrderedDict(
        conv1=nn.Conv2d(3, 16, 5, 2, 2),
        relu1=nn.ReLU(),
        norm1=nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),
        pool1=nn.MaxPool2d(3, 2),
        conv2=nn.Conv2d(16, 24, 3, padding=1, groups=2),
        bn2=nn.BatchNorm2d(24),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(3, 2),
        flatten=nn.Flatten(),
        fc6=nn.Linear(24 * 3 * 3, 32),
        relu6=nn.ReLU(),
        drop6=nn.Dropout(),
        fc8=nn.Linear(32, len(CLASSES)),
    )
    net = nn.Sequential(layers)
    randomize_statistics(net)
    return sharpen(net, images, small_spec)


def randomize_statistics(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.2, 3)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)


@pytest.fixture(scope="session")
def metadata(small_spec: AugmentSpec) -> GraphMetadata:
    return GraphMetadata(
        classes=CLASSES,
        spec=small_spec,
        model="small",
        crops="ten",
        version="1.2.3",
        provenance={"run": "runs/x", "epoch": 7, "seed": 3},
    )
