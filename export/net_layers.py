"""A network as plain values: the list of its layers with their weights, batch normalisation folded in.

Everything after this works on these values, not on torch modules.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

Array = np.ndarray[Any, np.dtype[np.float64]]
Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Conv:
    """A convolution; `weight` is (out, in / groups, height, width), `pads` is (top, left, bottom, right)."""

    name: str
    weight: Array
    bias: Array
    strides: Pair
    pads: tuple[int, int, int, int]
    dilations: Pair
    groups: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """A fully connected layer; `weight` is (out, in)."""

    name: str
    weight: Array
    bias: Array


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BatchNorm:
    """Batch normalisation that follows neither a convolution nor a linear layer, as y = scale * x + shift."""

    name: str
    scale: Array
    shift: Array


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

    Where `ceil`, a last window that hangs over the end counts too, if it does not begin beyond it.
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


def read_layers(net: torch.nn.Module) -> list[Layer]:
    """Describes a sequential network as it computes in evaluation mode; the module itself is not changed.

    Args:
        net: A `torch.nn.Sequential` of convolutions, linear layers, batch and local response normalisation,
            ReLU, max pooling, global average pooling, flattening and dropout; zero padding in front of a
            convolution.

    Raises:
        UserError: A layer is of another type or has a setting that the graph cannot express; it is named.
    """
    from torch import nn

    if not isinstance(net, nn.Sequential):
        raise UserError(
            f"a network of type {type(net).__name__} cannot be exported",
            "give one that is a torch.nn.Sequential of its layers",
        )
    layers: list[Layer] = []
    padding: tuple[Pad, torch.nn.Module] | None = None
    for name, module in net.named_children():
        reader = _READERS.get(type(module).__name__)
        if reader is None:
            raise _unsupported(name, module, f"supported are {', '.join(sorted(_READERS))}")
        layer = reader(name, module)
        if padding is not None:
            layer, padding = _padded(*padding, layer), None
        if isinstance(layer, Pad):
            padding = (layer, module)
        elif layer is not None:
            _append_folded(layers, layer)
    if padding is not None:
        _padded(*padding, None)
    return layers


def _padded(pad: Pad, module: torch.nn.Module, layer: Layer | Pad | None) -> Conv:
    """Returns a convolution that pads by what stands before it too."""
    if not isinstance(layer, Conv):
        raise _unsupported(pad.name, module, "padding must stand right before a convolution")
    top, left, bottom, right = (ours + theirs for ours, theirs in zip(layer.pads, pad.pads, strict=True))
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


def _array(name: str, tensor: torch.Tensor) -> Array:
    """Returns the weights of a layer in float64: folding in float32 would cost a digit."""
    array: Array = tensor.detach().cpu().double().numpy()
    if not np.isfinite(array).all():
        raise UserError(
            f"layer {name} holds weights that are not finite numbers",
            "training has diverged: export an earlier checkpoint or train with a lower --lr",
        )
    return array


def _bias(name: str, module: Any) -> Array:
    return np.zeros(module.weight.shape[0]) if module.bias is None else _array(name, module.bias)


def _read_conv(name: str, module: Any) -> Conv:
    if module.padding_mode != "zeros":
        raise _unsupported(name, module, f"padding_mode is {module.padding_mode!r}, only 'zeros' is known")
    return Conv(
        name=name,
        weight=_array(name, module.weight),
        bias=_bias(name, module),
        strides=_pair(module.stride),
        pads=_conv_pads(module),
        dilations=_pair(module.dilation),
        groups=module.groups,
    )


def _conv_pads(module: Any) -> tuple[int, int, int, int]:
    """Returns (top, left, bottom, right); "same" puts the odd pixel bottom and right, as torch does."""
    if module.padding == "valid":
        return (0, 0, 0, 0)
    if module.padding == "same":
        total_h, total_w = (d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True))
        return (total_h // 2, total_w // 2, total_h - total_h // 2, total_w - total_w // 2)
    height, width = _pair(module.padding)
    return (height, width, height, width)


def _read_linear(name: str, module: Any) -> Linear:
    return Linear(name=name, weight=_array(name, module.weight), bias=_bias(name, module))


def _read_batch_norm(name: str, module: Any) -> BatchNorm:
    if module.running_mean is None:
        raise _unsupported(name, module, "it keeps no running statistics, so a batch would change the answer")
    mean, variance = _array(name, module.running_mean), _array(name, module.running_var)
    gain = np.ones_like(mean) if module.weight is None else _array(name, module.weight)
    offset = np.zeros_like(mean) if module.bias is None else _array(name, module.bias)
    scale = gain / np.sqrt(variance + module.eps)
    return BatchNorm(name=name, scale=scale, shift=offset - mean * scale)


def _read_relu(name: str, module: Any) -> Relu:
    del module
    return Relu(name=name)


def _read_lrn(name: str, module: Any) -> Lrn:
    # Odd because torch and ONNX put the longer half of an even window on different sides; 15 is TensorRT's
    # limit (NvInfer.h, ILRNLayer::setWindowSize).
    if module.size % 2 == 0 or module.size > 15:
        raise _unsupported(name, module, f"its window of {module.size} channels must be odd and at most 15")
    return Lrn(name=name, size=module.size, alpha=module.alpha, beta=module.beta, k=module.k)


def _read_max_pool(name: str, module: Any) -> MaxPool:
    if module.return_indices or _pair(module.dilation) != (1, 1):
        raise _unsupported(name, module, "return_indices and dilation are not known")
    return MaxPool(
        name=name,
        kernel=_pair(module.kernel_size),
        strides=_pair(module.stride),
        pads=_pair(module.padding),
        ceil=module.ceil_mode,
    )


def _read_global_pool(name: str, module: Any) -> GlobalPool:
    size = module.output_size
    if size not in (1, (1, 1)):
        raise _unsupported(name, module, f"its output of {size} must be 1: the mean of each map")
    return GlobalPool(name=name)


def _read_pad(name: str, module: Any) -> Pad:
    left, right, top, bottom = module.padding
    return Pad(name=name, pads=(top, left, bottom, right))


def _read_flatten(name: str, module: Any) -> Flatten:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise _unsupported(name, module, "it must flatten everything after the batch")
    return Flatten(name=name)


def _read_nothing(name: str, module: Any) -> None:
    """Dropout and Identity do nothing in evaluation."""
    del name, module


_READERS: dict[str, Callable[[str, Any], Layer | Pad | None]] = {
    "Conv2d": _read_conv,
    "Linear": _read_linear,
    "BatchNorm1d": _read_batch_norm,
    "BatchNorm2d": _read_batch_norm,
    "SyncBatchNorm": _read_batch_norm,
    "ReLU": _read_relu,
    "LocalResponseNorm": _read_lrn,  # torch's and ours: the same attributes with the same meaning
    "MaxPool2d": _read_max_pool,
    "AdaptiveAvgPool2d": _read_global_pool,
    "ZeroPad2d": _read_pad,
    "Flatten": _read_flatten,
    "Dropout": _read_nothing,
    "Identity": _read_nothing,
}


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _unsupported(name: str, module: object, why: str) -> UserError:
    return UserError(f"layer {name} of type {type(module).__name__} cannot be exported", why)
