"""What each layer of a network makes of an image: shapes, parameters and multiply-accumulate operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from alexnet_fast.models.network import Network

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One layer for one image.

    Args:
        name: Its name in the network, `conv1` for example.
        kind: Its module's class.
        output_shape: `(C, H, W)` or `(C,)`.
        parameters: Learned numbers, running statistics not counted.
        macs: Multiply-accumulate operations of its convolution or matrix product; 0 for every other kind.
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
        image_size: Side of the image, in pixels; the network's own if None. Of another size only the rows
            up to `flatten` have a meaning, for the layer behind it is built for one size.
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
    """The shape, without the batch, that a layer makes of another; a side may come out below 1."""
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
    """The shape of maps whose sides change and whose number stays."""
    if isinstance(layer, nn.MaxPool2d):
        return (shape[0], *(_places(side, layer) for side in shape[1:]))
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        # It leaves one pixel; of an empty map there is no mean.
        return (shape[0], *(min(side, 1) for side in shape[1:]))
    left, right, top, bottom = layer.padding
    return (shape[0], shape[1] + top + bottom, shape[2] + left + right)


def _places(side: int, layer: nn.Conv2d | nn.MaxPool2d) -> int:
    """How often a square window fits; every window of these networks is square and its padding symmetric.

    A pool that rounds up has a last window that hangs over the end; torch leaves out one that lies beyond it.
    """
    kernel, stride, padding = (_one(value) for value in (layer.kernel_size, layer.stride, layer.padding))
    room = side + 2 * padding - kernel
    if isinstance(layer, nn.MaxPool2d) and layer.ceil_mode:
        places = -(-room // stride) + 1
        return places - 1 if (places - 1) * stride >= side + padding else places
    return room // stride + 1


def _one(value: object) -> int:
    """The number of a setting that PyTorch keeps as n or as (n, n)."""
    number = value[0] if isinstance(value, tuple) else value
    assert isinstance(number, int)
    return number


def _macs(layer: nn.Module, shape: Shape) -> int:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        each = math.prod(layer.weight.shape[1:])
        return each * math.prod(shape)
    return 0
