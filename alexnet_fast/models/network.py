"""The base class of the networks, an ordered list of layers; their table and their initialisation."""

from __future__ import annotations

import abc
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import nn

from alexnet_fast.models.spec import InputSpec, NetSpec

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """A layer, for one image.

    Args:
        name: Name in the network, such as `conv1`.
        kind: Class of the module.
        output_shape: `(C, H, W)` or `(C,)`.
        parameters: Number of learned values, without running statistics.
        macs: Multiply-accumulate operations of a convolution or matrix product; 0 for other kinds.
    """

    name: str
    kind: str
    output_shape: Shape
    parameters: int
    macs: int


def layer_table(net: Network[Any], image_size: int | None = None) -> tuple[LayerRow, ...]:
    """Describes the layers of a network in the order in which they run.

    Args:
        net: The network.
        image_size: Side of the image, in pixels; the network's own if None. For another size only the rows
            up to `flatten` are valid, since the next layer is built for one size.
    """
    side = net.input.crop if image_size is None else image_size
    shape: Shape = (3, side, side)
    rows = []
    for name, layer in net.named_children():
        shape = output_shape(layer, shape)
        parameters = sum(p.numel() for p in layer.parameters())
        kind = type(layer).__name__
        rows.append(
            LayerRow(
                name=name, kind=kind, output_shape=shape, parameters=parameters, macs=_macs(layer, shape)
            )
        )
    return tuple(rows)


def output_shape(layer: nn.Module, shape: Shape) -> Shape:
    """Returns the shape of a layer's output, without the batch; a side may be below 1."""
    if isinstance(layer, nn.Conv2d):
        return (layer.out_channels, *(_places(side, layer) for side in shape[1:]))
    if isinstance(layer, nn.MaxPool2d | nn.AdaptiveAvgPool2d | nn.ZeroPad2d):
        return _other_sides(layer, shape)
    if isinstance(layer, nn.Flatten):
        return (math.prod(shape),)
    if isinstance(layer, nn.Linear):
        return (layer.out_features,)
    return shape


def _other_sides(layer: nn.MaxPool2d | nn.AdaptiveAvgPool2d | nn.ZeroPad2d, shape: Shape) -> Shape:
    """Returns the output shape of a layer that keeps the number of maps."""
    if isinstance(layer, nn.MaxPool2d):
        return (shape[0], *(_places(side, layer) for side in shape[1:]))
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        # It leaves one pixel; an empty map has no mean.
        return (shape[0], *(min(side, 1) for side in shape[1:]))
    left, right, top, bottom = layer.padding
    return (shape[0], shape[1] + top + bottom, shape[2] + left + right)


def _places(side: int, layer: nn.Conv2d | nn.MaxPool2d) -> int:
    """Returns how often a square window with symmetric padding fits.

    The last window of a pool that rounds up may extend beyond the end; torch omits one that begins there.
    """
    kernel, stride, padding = (_one(value) for value in (layer.kernel_size, layer.stride, layer.padding))
    room = side + 2 * padding - kernel
    if isinstance(layer, nn.MaxPool2d) and layer.ceil_mode:
        places = -(-room // stride) + 1
        return places - 1 if (places - 1) * stride >= side + padding else places
    return room // stride + 1


def _one(value: object) -> int:
    """Returns n of a setting that PyTorch stores as n or as (n, n)."""
    number = value[0] if isinstance(value, tuple) else value
    assert isinstance(number, int)
    return number


def _macs(layer: nn.Module, shape: Shape) -> int:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        each = math.prod(layer.weight.shape[1:])
        return each * math.prod(shape)
    return 0


# The paper, section 5. The last layer of networks with "kaiming" initialisation uses it too, so that the
# first outputs are near 0 and the first loss is near log(num_classes).
PAPER_STD = 0.01


def initialise(net: Network[Any]) -> None:
    """Initialises convolutions and fully-connected layers according to `net.spec.initial`."""
    draw = {"paper": _paper, "kaiming": _kaiming, "xavier": _xavier, "truncated": _truncated}
    if net.spec.initial != "torch":
        draw[net.spec.initial](net)


def _weighted(net: Network[Any]) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    for name, layer in net.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            yield name, layer


def _zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def _paper(net: Network[Any]) -> None:
    """Small normal weights, and biases that give the ReLUs positive inputs from the start."""
    biases, deviations = net.spec.first_biases(), net.spec.first_deviations()
    for name, layer in _weighted(net):
        nn.init.normal_(layer.weight, std=deviations.get(name, PAPER_STD))
        assert layer.bias is not None
        nn.init.constant_(layer.bias, biases.get(name, 0.0))


def _kaiming(net: Network[Any]) -> None:
    """`fan_out` keeps the size of the gradients of a convolution."""
    for name, layer in _weighted(net):
        mode: Literal["fan_out", "fan_in"] = "fan_out" if isinstance(layer, nn.Conv2d) else "fan_in"
        nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        _zero_bias(layer)
        if name == net.last:
            nn.init.normal_(layer.weight, std=PAPER_STD)


def _xavier(net: Network[Any]) -> None:
    for _, layer in _weighted(net):
        nn.init.xavier_normal_(layer.weight)
        _zero_bias(layer)


def _truncated(net: Network[Any]) -> None:
    for index, (_, layer) in enumerate(_weighted(net)):
        if isinstance(layer, nn.Linear):
            number = layer.in_features
        else:
            number = layer.in_channels if index else net.input.crop**2
        std = 1 / math.sqrt(number)
        nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        _zero_bias(layer)


Spec = TypeVar("Spec", bound=NetSpec)


class Network(nn.Sequential, abc.ABC, Generic[Spec]):
    """A network as an ordered list of layers, made by `create_model`.

    Children are Conv2d, ReLU, LocalResponseNorm, BatchNorm1d, BatchNorm2d, ZeroPad2d, MaxPool2d,
    AdaptiveAvgPool2d(1), Flatten, Linear and Dropout, nothing else; the last one is a Linear. `flatten`
    orders features by channel, row, column, as Caffe and torchvision do, in either memory format. ReLUs
    work in place: a hook must copy the output of the layer before a ReLU. A slice of the network is an
    `nn.Sequential` that shares its layers.

    Shape:
        `(N, 3, S, S)` with S = `input.crop`, prepared as `input` says, to logits `(N, num_classes)`.

    Args:
        spec: The spec.
        num_classes: Outputs of the last layer.
    """

    def __init__(self, spec: Spec, num_classes: int) -> None:
        super().__init__(OrderedDict(self.layers(spec, num_classes)))
        self.spec = spec
        self.num_classes = num_classes
        if names := self.torchvision_names(spec):
            self.register_load_state_dict_pre_hook(_Renaming(names))  # type: ignore[no-untyped-call]
        initialise(self)

    @staticmethod
    @abc.abstractmethod
    def features(spec: Any, side: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields the layers before `flatten` with their names, for images of `side` pixels."""

    @staticmethod
    @abc.abstractmethod
    def head(spec: Any, inputs: int, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields the layers after `flatten`, which leaves `inputs` numbers."""

    @staticmethod
    def torchvision_names(spec: Any) -> Mapping[str, str]:
        """Returns the layers with weights by torchvision's name; empty if it has no such network."""
        del spec
        return {}

    @classmethod
    def layers(cls, spec: Spec, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields every layer with its name, in order."""
        shape: Shape = (3, spec.input.crop, spec.input.crop)
        for name, layer in cls.features(spec, spec.input.crop):
            shape = output_shape(layer, shape)
            yield name, layer
        yield "flatten", nn.Flatten()
        yield from cls.head(spec, shape[0] * shape[1] * shape[2], num_classes)

    @classmethod
    def side_left(cls, spec: Spec, image_size: int) -> int:
        """Returns the side of the maps before `flatten`, below 1 if the image is too small."""
        shape: Shape = (3, image_size, image_size)
        with torch.device("meta"):
            for _, layer in cls.features(spec, image_size):
                shape = output_shape(layer, shape)
                if shape[1] < 1:
                    break
        return shape[1]

    @property
    def input(self) -> InputSpec:
        """The input images."""
        return self.spec.input

    @property
    def last(self) -> str:
        """Name of the last layer, which computes the logits."""
        return next(reversed(self._modules))

    def __getitem__(self, idx: slice | int) -> Any:
        # nn.Sequential would call the constructor of this class with the layers of the slice.
        if isinstance(idx, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[idx]))
        return super().__getitem__(idx)


class _Renaming:
    """Renames torchvision's weights before they are loaded; our names stay.

    Args:
        names: Theirs to ours.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)

    def __call__(self, _net: nn.Module, state_dict: dict[str, Any], prefix: str, *_reporting: object) -> None:
        """Renames in place; torch passes a copy of the caller's dictionary."""
        for theirs, ours in self._names.items():
            for kind in ("weight", "bias"):
                if (tensor := state_dict.pop(f"{prefix}{theirs}.{kind}", None)) is not None:
                    state_dict[f"{prefix}{ours}.{kind}"] = tensor
