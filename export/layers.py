"""A layer IR: a network as a list of plain values with weights, batch normalisation folded in.

The later steps of an export work on these values, not on torch modules. `read_layers` decides who writes a
network: what it does not know exactly is an `UnknownLayerError`, and `onnx.model.lower` passes that network
to torch's exporter.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.export.exact_modules import why_inexact, why_no_sequence
from alexnet_fast.export.layer_place import described
from alexnet_fast.export.net_copy import check_weights
from alexnet_fast.utils.arrays import Doubles

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Conv:
    """A convolution; `weight` is (out, in / groups, height, width), `pads` is (top, left, bottom, right)."""

    name: str
    weight: Doubles
    bias: Doubles
    strides: Pair
    pads: tuple[int, int, int, int]
    dilations: Pair
    groups: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """A fully connected layer; `weight` is (out, in)."""

    name: str
    weight: Doubles
    bias: Doubles


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BatchNorm:
    """Batch normalisation that follows neither a convolution nor a linear layer, as y = scale * x + shift."""

    name: str
    scale: Doubles
    shift: Doubles


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relu:
    """max(x, 0)."""

    name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lrn:
    """y = x / (k + alpha / size * sum of x^2 over `size` neighbouring channels) ** beta."""

    name: str
    size: int
    alpha: float
    beta: float
    k: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaxPool:
    """Largest value of each window; `pads` on each side of (height, width).

    With `ceil`, a last window that extends past the end counts too, unless it begins there.
    """

    name: str
    kernel: Pair
    strides: Pair
    pads: Pair
    ceil: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlobalPool:
    """Mean of each map, (channels, height, width) to (channels, 1, 1)."""

    name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flatten:
    """(channels, height, width) to one row."""

    name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pad:
    """Zeros around a map, (top, left, bottom, right): part of the convolution that follows, no layer."""

    name: str
    pads: tuple[int, int, int, int]


Layer = Conv | Linear | BatchNorm | Relu | Lrn | MaxPool | GlobalPool | Flatten


class UnknownLayerError(UserError):
    """A layer or a network that our writer does not know exactly, so that it would have to guess.

    Args:
        layer: Its place and class, as `layer_place.described` returns them.
        why: The unknown part, as the rest of a sentence that begins with `layer`.
    """

    def __init__(self, layer: str, why: str) -> None:
        super().__init__(f"{layer} {why}", "the ONNX writer does not know that")
        self.layer = layer
        self.why = why

    def in_int8(self) -> UserError:
        """Returns the error of --precision int8 for a network that only torch's exporter can write."""
        return UserError(
            f"--precision int8 is unavailable for this network: {self.layer} {self.why}",
            "use --precision fp32, or fp16 with --trt",
        )


def sequence(net: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """Returns the layers of a sequential network in the order of running; a layer may occur twice."""
    return [(name, module) for name, module in net._modules.items() if module is not None]


def read_layers(net: torch.nn.Module) -> list[Layer]:
    """Describes a sequential network as it computes in evaluation mode; the module itself is not changed.

    Args:
        net: A `torch.nn.Sequential` of convolutions, linear layers, batch and local response normalisation,
            ReLU, max pooling, global average pooling, flattening and dropout; zero padding in front of a
            convolution. Each exactly torch's own or ours: no subclass, no hook, no replaced method.

    Raises:
        UnknownLayerError: A layer is of another class, or has a setting that the graph cannot express; it is
            named.
        UserError: Its weights are not finite.
    """
    why = why_no_sequence(net)
    if why is not None:
        raise UnknownLayerError(described("", net), why)
    check_weights(net)
    layers: list[Layer] = []
    # The None at the end detects padding that nothing follows.
    read_one_by_one = itertools.chain(itertools.starmap(_read, net._modules.items()), [None])
    padding: Pad | None = None
    for layer in read_one_by_one:
        if padding is not None:
            layer, padding = _padded(padding, layer), None  # noqa: PLW2901
        if isinstance(layer, Pad):
            padding = layer
        elif layer is not None:
            _append_folded(layers, layer)
    return layers


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NetLayers:
    """A network that was read.

    Args:
        net: The network.
        layers: Its layers; empty if torch's exporter has to write it.
        unknown: Why our writer cannot write it; None if it can.
    """

    net: torch.nn.Module
    layers: tuple[Layer, ...] = ()
    unknown: UnknownLayerError | None = None


def read(net: torch.nn.Module) -> NetLayers:
    """Reads a network as it computes in evaluation mode; the module itself is not changed.

    Raises:
        UserError: Its weights are not finite.
    """
    try:
        return NetLayers(net=net, layers=tuple(read_layers(net)))
    except UnknownLayerError as unknown:
        return NetLayers(net=net, unknown=unknown)


def _read(name: str, module: torch.nn.Module | None) -> Layer | Pad | None:
    """Describes one layer; None if it does nothing in evaluation."""
    reader = _readers().get(type(module))
    if module is None or reader is None:
        raise _unknown(name, module, "is of a class that it does not know")
    why = why_inexact(module)
    if why is not None:
        raise _unknown(name, module, why)
    return reader(name, module)


def _padded(pad: Pad, layer: Layer | Pad | None) -> Conv:
    """Returns a convolution with the padding in front of it included."""
    if not isinstance(layer, Conv):
        raise UnknownLayerError(f"layer {pad.name} (ZeroPad2d)", "is not directly in front of a convolution")
    top, left, bottom, right = (sum(both) for both in zip(layer.pads, pad.pads, strict=True))
    return dataclasses.replace(layer, pads=(top, left, bottom, right))


def _append_folded(layers: list[Layer], layer: Layer) -> None:
    """Appends a layer; batch normalisation after a convolution or linear layer goes into its weights."""
    before = layers[-1] if layers else None
    if not isinstance(layer, BatchNorm) or not isinstance(before, Conv | Linear):
        layers.append(layer)
        return
    per_output = layer.scale.reshape(-1, *[1] * (before.weight.ndim - 1))
    layers[-1] = dataclasses.replace(
        before, weight=before.weight * per_output, bias=before.bias * layer.scale + layer.shift
    )


def _array(tensor: torch.Tensor) -> Doubles:
    """Returns the weights of a layer in float64: folding in float32 would lose a digit."""
    array: Doubles = tensor.detach().cpu().double().numpy()
    return array


def _bias(module: Any) -> Doubles:
    return np.zeros(module.weight.shape[0]) if module.bias is None else _array(module.bias)


def _read_conv(name: str, module: Any) -> Conv:
    if module.padding_mode != "zeros":
        raise _unknown(name, module, f"has the padding_mode {module.padding_mode!r}")
    kernel = tuple(module.weight.shape[2:])
    return Conv(
        name=name,
        weight=_array(module.weight),
        bias=_bias(module),
        strides=_pair(name, module, "stride"),
        pads=_conv_pads(name, module, kernel),
        dilations=_pair(name, module, "dilation"),
        groups=module.groups,
    )


def _conv_pads(name: str, module: Any, kernel: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Returns (top, left, bottom, right); "same" puts the odd pixel bottom and right, as torch does."""
    if module.padding == "valid":
        return (0, 0, 0, 0)
    if module.padding == "same":
        dilation = _pair(name, module, "dilation")
        total_h, total_w = (d * (k - 1) for d, k in zip(dilation, kernel, strict=True))
        return (total_h // 2, total_w // 2, total_h - total_h // 2, total_w - total_w // 2)
    height, width = _pair(name, module, "padding")
    return (height, width, height, width)


def _read_linear(name: str, module: Any) -> Linear:
    return Linear(name=name, weight=_array(module.weight), bias=_bias(module))


def _read_batch_norm(name: str, module: Any) -> BatchNorm:
    if module.running_mean is None or module.running_var is None:
        raise _unknown(name, module, "keeps no running statistics")
    mean, variance = _array(module.running_mean), _array(module.running_var)
    gain = np.ones_like(mean) if module.weight is None else _array(module.weight)
    offset = np.zeros_like(mean) if module.bias is None else _array(module.bias)
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = gain / np.sqrt(variance + module.eps)
    if not np.isfinite(scale).all():
        raise UserError(
            f"layer {name} divides by the root of a variance that is zero or negative",
            "its running_var is damaged: measure it again, or export another checkpoint",
        )
    return BatchNorm(name=name, scale=scale, shift=offset - mean * scale)


def _read_relu(name: str, module: Any) -> Relu:
    del module
    return Relu(name=name)


def _read_lrn(name: str, module: Any) -> Lrn:
    # Odd because torch and ONNX put the longer half of an even window on different sides; 15 is TensorRT's
    # limit (NvInfer.h, ILRNLayer::setWindowSize).
    if type(module.size) is not int or module.size % 2 == 0 or module.size > 15:
        raise _unknown(name, module, f"has a window of {module.size} channels, and not an odd one up to 15")
    return Lrn(name=name, size=module.size, alpha=module.alpha, beta=module.beta, k=module.k)


def _read_max_pool(name: str, module: Any) -> MaxPool:
    if module.return_indices or _pair(name, module, "dilation") != (1, 1):
        raise _unknown(name, module, "has return_indices or a dilation")
    return MaxPool(
        name=name,
        kernel=_pair(name, module, "kernel_size"),
        strides=_pair(name, module, "stride"),
        pads=_pair(name, module, "padding"),
        ceil=module.ceil_mode,
    )


def _read_global_pool(name: str, module: Any) -> GlobalPool:
    size = module.output_size
    if size not in (1, (1, 1)):
        raise _unknown(name, module, f"has the output size {size!r}, not 1")
    return GlobalPool(name=name)


def _read_pad(name: str, module: Any) -> Pad:
    sides = module.padding
    if not (isinstance(sides, tuple) and len(sides) == 4 and all(type(side) is int for side in sides)):
        raise _unknown(name, module, f"has the padding {sides}")
    if min(sides) < 0:
        raise _unknown(name, module, "has a negative padding")
    left, right, top, bottom = sides
    return Pad(name=name, pads=(top, left, bottom, right))


def _read_flatten(name: str, module: Any) -> Flatten:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise _unknown(name, module, "does not flatten everything behind the batch")
    return Flatten(name=name)


def _read_nothing(name: str, module: Any) -> None:
    """Dropout and Identity do nothing in evaluation."""
    del name, module


@functools.lru_cache(maxsize=1)
def _readers() -> dict[type[Any], Callable[[str, Any], Layer | Pad | None]]:
    """Returns the reader of each class: exactly these, and no subclass or namesake of them."""
    from torch import nn

    from alexnet_fast.models.lrn import LocalResponseNorm

    return {
        nn.Conv2d: _read_conv,
        nn.Linear: _read_linear,
        nn.BatchNorm1d: _read_batch_norm,
        nn.BatchNorm2d: _read_batch_norm,
        nn.SyncBatchNorm: _read_batch_norm,
        nn.ReLU: _read_relu,
        nn.LocalResponseNorm: _read_lrn,
        LocalResponseNorm: _read_lrn,  # ours: the same attributes with the same meaning
        nn.MaxPool2d: _read_max_pool,
        nn.AdaptiveAvgPool2d: _read_global_pool,
        nn.ZeroPad2d: _read_pad,
        nn.Flatten: _read_flatten,
        nn.Dropout: _read_nothing,
        nn.Identity: _read_nothing,
    }


def _pair(name: str, module: Any, setting: str) -> Pair:
    """Returns a setting of two axes, which may be one number for both."""
    value = getattr(module, setting)
    numbers = (value, value) if type(value) is int else value
    if isinstance(numbers, tuple) and len(numbers) == 2 and all(type(number) is int for number in numbers):
        least = 0 if setting == "padding" else 1
        if min(numbers) >= least:
            return (numbers[0], numbers[1])
    raise _unknown(name, module, f"has the {setting} {value!r}")


def _unknown(name: str, module: object, why: str) -> UnknownLayerError:
    return UnknownLayerError(described(name, module), why)
