"""The networks: an ordered list of plain layers under Caffe's names, built from a `ModelSpec`."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.models.initial import initialise
from alexnet_fast.models.layers import Shape, output_shape
from alexnet_fast.models.lrn import LocalResponseNorm
from alexnet_fast.models.spec import InputSpec, ModelSpec, resolve_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

# The convolutions that overlapping 3x3 pooling of stride 2 follows (the paper, section 3.4).
POOLED = (1, 2, 5)

# Where torchvision.models.alexnet keeps the layers that have weights.
TORCHVISION_NAMES = {
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3",
    "features.8": "conv4",
    "features.10": "conv5",
    "classifier.1": "fc6",
    "classifier.4": "fc7",
    "classifier.6": "fc8",
}


class AlexNet(nn.Sequential):
    """A network that is the ordered list of its layers; `create_model` makes it.

    Children are Conv2d, ReLU, LocalResponseNorm, BatchNorm1d, BatchNorm2d, MaxPool2d, Flatten, Linear and
    Dropout, nothing else. `flatten` orders features by channel, row, column, as Caffe and torchvision do, in
    either memory format. ReLUs work in place: a hook that keeps the output of the layer before must copy it.
    A slice of the network is an `nn.Sequential` that shares its layers.

    Shape:
        `(N, 3, S, S)` with S = `input.crop`, prepared as `input` says, to logits `(N, num_classes)`.

    Args:
        spec: What to build.
        num_classes: Outputs of `fc8`.
    """

    def __init__(self, spec: ModelSpec, num_classes: int) -> None:
        super().__init__(OrderedDict(_layers(spec, num_classes)))
        self.spec = spec
        self.num_classes = num_classes
        if spec.name.startswith("alexnet-owt"):
            self.register_load_state_dict_pre_hook(_rename_torchvision_keys)  # type: ignore[no-untyped-call]
        initialise(self)

    @property
    def input(self) -> InputSpec:
        """The pictures that the network expects."""
        return self.spec.input

    def __getitem__(self, idx: slice | int) -> Any:
        # nn.Sequential would call this class's own constructor with the layers of the slice.
        if isinstance(idx, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[idx]))
        return super().__getitem__(idx)


def create_model(
    name: str,
    num_classes: int = 1000,
    *,
    image_size: int | None = None,
    lrn_k: float | None = None,
    lrn_alpha: float | None = None,
    dropout: float | None = None,
) -> AlexNet:
    """Makes a network with fresh weights, drawn from PyTorch's global generator.

    Args:
        name: One of `model_names()`.
        num_classes: Outputs.
        image_size: Side of the input, in pixels, instead of the network's own.
        lrn_k: Additive constant of the LRN, instead of the network's own.
        lrn_alpha: Alpha of the LRN, as `LocalResponseNorm` defines it, instead of the network's own.
        dropout: Probability of dropping a unit, instead of 0.5.

    Raises:
        UserError: No such network, fewer than two classes, a picture too small for the layers, or an option
            that the network lacks.
    """
    spec = resolve_spec(name, image_size=image_size, lrn_k=lrn_k, lrn_alpha=lrn_alpha, dropout=dropout)
    if num_classes < 2:
        raise UserError(
            f"--model {name} for {num_classes} class(es)", "a classifier needs two or more", exit_code=2
        )
    if _sides_left(spec, spec.input.crop) < 1:
        smallest = next(side for side in count(1) if _sides_left(spec, side) >= 1)
        problem = f"--crop {spec.input.crop} leaves --model {name} no pixel after pool5"
        raise UserError(problem, f"the smallest that it can read is {smallest}", exit_code=2)
    return AlexNet(spec, num_classes)


def stem_padding(image_size: int, kernel: int, stride: int) -> int:
    """Padding of conv1: 0 where its kernel fits the picture without a remainder, else 2.

    The paper's 55x55 maps come from 227 pixels exactly (Caffe), or from 224 with 2 pixels around them
    (torchvision). Two pixels are also half of the small networks' 5x5 kernel, which gives 32x32 maps at 64
    pixels and 28x28 at 56.
    """
    return 0 if (image_size - kernel) % stride == 0 else 2


def _layers(spec: ModelSpec, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
    """Every layer with its name, in the order in which they run."""
    shape: Shape = (3, spec.input.crop, spec.input.crop)
    for name, layer in _feature_layers(spec, spec.input.crop):
        shape = output_shape(layer, shape)
        yield name, layer
    yield "flatten", nn.Flatten()
    features = shape[0] * shape[1] * shape[2]
    for number, width in ((6, spec.hidden), (7, spec.hidden), (8, num_classes)):
        if f"fc{number}" in spec.dropout_before:
            yield f"drop{number - 1}", nn.Dropout(spec.dropout)
        yield f"fc{number}", nn.Linear(features, width)
        features = width
        if number < 8:
            if spec.batch_norm:
                yield f"bn{number}", nn.BatchNorm1d(width)
            yield f"relu{number}", nn.ReLU(inplace=True)


def _feature_layers(spec: ModelSpec, image_size: int) -> Iterator[tuple[str, nn.Module]]:
    """conv1 to pool5."""
    channels = 3
    for number, conv in enumerate(spec.convs, start=1):
        same = conv.kernel // 2
        yield (
            f"conv{number}",
            nn.Conv2d(
                channels,
                conv.channels,
                conv.kernel,
                conv.stride,
                stem_padding(image_size, conv.kernel, conv.stride) if number == 1 else same,
                groups=conv.groups,
            ),
        )
        channels = conv.channels
        if spec.batch_norm:
            yield f"bn{number}", nn.BatchNorm2d(channels)
        yield f"relu{number}", nn.ReLU(inplace=True)
        yield from _norm_and_pool(spec, number)


def _norm_and_pool(spec: ModelSpec, number: int) -> list[tuple[str, nn.Module]]:
    """What follows the ReLU of a convolution."""
    layers: list[tuple[str, nn.Module]] = []
    if spec.lrn is not None and number in (1, 2):
        lrn = spec.lrn
        layers.append((f"norm{number}", LocalResponseNorm(lrn.size, lrn.alpha, lrn.beta, lrn.k)))
    if number in POOLED:
        layers.append((f"pool{number}", nn.MaxPool2d(3, 2)))
    return layers[::-1] if spec.pool_first else layers


def _sides_left(spec: ModelSpec, image_size: int) -> int:
    """Side of the maps after pool5; below 1 where a layer before it has nothing left to read."""
    shape: Shape = (3, image_size, image_size)
    with torch.device("meta"):
        for _, layer in _feature_layers(spec, image_size):
            shape = output_shape(layer, shape)
            if shape[1] < 1:
                break
    return shape[1]


def _rename_torchvision_keys(
    _net: nn.Module, state_dict: dict[str, Any], prefix: str, *_reporting: object
) -> None:
    """Gives torchvision's weights our names before they are loaded; our own names pass through."""
    for theirs, ours in TORCHVISION_NAMES.items():
        for kind in ("weight", "bias"):
            if (tensor := state_dict.pop(f"{prefix}{theirs}.{kind}", None)) is not None:
                state_dict[f"{prefix}{ours}.{kind}"] = tensor
