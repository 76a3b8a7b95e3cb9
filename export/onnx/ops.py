"""Writes each layer of a network as ONNX nodes, and tracks the sizes to name a layer that does not fit."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import QMAX
from alexnet_fast.export.layers import BatchNorm, Conv, Flatten, GlobalPool, Layer, Linear, Lrn, MaxPool, Relu
from alexnet_fast.export.onnx.writer import GraphWriter, Value
from alexnet_fast.utils.arrays import Doubles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.export.config import Target


def write_lrn(layer: Lrn, graph: GraphWriter, x: Value) -> Value:
    """Appends local response normalisation of a (batch, channels, height, width) map."""
    if graph.config.precision == "bf16":
        return Value(_in_float(layer, graph, x), x.shape)
    if graph.config.lrn == "op":
        return Value(_op_lrn(layer, graph, x.name, layer.name), x.shape)
    write = _conv_lrn if graph.config.lrn == "conv" else _slices_lrn
    return Value(
        graph.node("Div", [x.name, _power(layer, graph, write(layer, graph, x))], layer.name), x.shape
    )


def _conv_lrn(layer: Lrn, graph: GraphWriter, x: Value) -> str:
    name, channels = layer.name, np.arange(x.shape[0])
    near = np.abs(channels[:, None] - channels) <= layer.size // 2
    weight = (near * (layer.alpha / layer.size))[:, :, None, None].astype(graph.dtype)
    squares = graph.node("Mul", [x.name, x.name], f"{name}/squares")
    constants = [
        graph.constant(f"{name}.band", weight),
        graph.constant(f"{name}.k", np.full(len(channels), layer.k, graph.dtype)),
    ]
    return graph.node("Conv", [squares, *constants], f"{name}/base", kernel_shape=[1, 1])


def _op_lrn(layer: Lrn, graph: GraphWriter, x: str, name: str) -> str:
    return graph.node("LRN", [x], name, size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)


def _in_float(layer: Lrn, graph: GraphWriter, x: Value) -> str:
    """Normalises in float32: bfloat16 has the range, but sums of squares would keep two digits."""
    wide = graph.node("Cast", [x.name], f"{layer.name}/float", to=TensorProto.FLOAT)
    normalised = _op_lrn(layer, graph, wide, f"{layer.name}/normalised")
    return graph.node("Cast", [normalised], layer.name, to=TensorProto.BFLOAT16)


def _slices_lrn(layer: Lrn, graph: GraphWriter, x: Value) -> str:
    """Squares sqrt(alpha / size) * x, not x: 1000 squared exceeds float16, whose largest number is 65504."""
    name = layer.name
    scale = graph.number(f"{name}.scale", math.sqrt(layer.alpha / layer.size))
    scaled = graph.node("Mul", [x.name, scale], f"{name}/scaled")
    squares = graph.node("Mul", [scaled, scaled], f"{name}/squares")
    total = _window_sum(layer, graph, squares, channels=x.shape[0])
    return graph.node("Add", [total, graph.number(f"{name}.k", layer.k)], f"{name}/base")


def _window_sum(layer: Lrn, graph: GraphWriter, squares: str, *, channels: int) -> str:
    """Adds up `size` neighbouring channels of a map; channels beyond its ends count as zero."""
    name, half = layer.name, layer.size // 2
    pads = graph.integers(0, half, 0, 0, 0, half, 0, 0)
    zero = graph.constant(f"{name}.zero", np.array(0, dtype=graph.dtype))
    padded = graph.node("Pad", [squares, pads, zero], f"{name}/padded")
    slices = [
        graph.cut(padded, f"{name}/slice{shift}", {1: (shift, shift + channels)})
        for shift in range(layer.size)
    ]
    total = slices[0]
    for shift, piece in enumerate(slices[1:], start=1):
        total = graph.node("Add", [total, piece], f"{name}/sum{shift}")
    return total


def _power(layer: Lrn, graph: GraphWriter, base: str) -> str:
    """Raises to beta; the usual 0.75 as sqrt(d) * sqrt(sqrt(d)), which costs a tenth of Pow."""
    name = layer.name
    if layer.beta != 0.75:
        return graph.node("Pow", [base, graph.number(f"{name}.beta", layer.beta)], f"{name}/power")
    root = graph.node("Sqrt", [base], f"{name}/root")
    root_of_root = graph.node("Sqrt", [root], f"{name}/root_of_root")
    return graph.node("Mul", [root, root_of_root], f"{name}/power")


# Largest quantized weight. Processors without VNNI add pairs of products in 16 bits and saturate
# (vpmaddubsw); onnxruntime gives them inputs from 0 to 255, and 2 * 255 * 64 fits. With 127 such a processor
# computes something else. A GPU adds in 32 bits.
# https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html ("When and why do I need to
# try U8U8?").
_WEIGHT_QMAX: dict[Target, int] = {"onnxruntime": 64, "tensorrt": QMAX}


def write_quantized(graph: GraphWriter, x: str, scale: float, name: str) -> str:
    """Appends the rounding of a tensor to int8 and back.

    Args:
        graph: Receives the nodes.
        x: float32.
        scale: The scale.
        name: Name of the two nodes, without suffix.
    """
    scale_name = graph.constant(f"{name}.scale", np.array(scale, np.float32))
    # Without a zero point the type would be uint8.
    zero = graph.constant("int8.zero", np.array(0, np.int8))
    quantized = graph.node("QuantizeLinear", [x, scale_name, zero], f"{name}/int8")
    return graph.node("DequantizeLinear", [quantized, scale_name, zero], f"{name}/float")


def write_int8_weights(graph: GraphWriter, layer: Conv | Linear, input_scale: float) -> list[str]:
    """Appends weights and bias of a layer, the weights as int8 with one scale per output channel.

    Each channel uses the whole range that the target's kernels can add up: 64 for onnxruntime, 127 for
    TensorRT.

    Args:
        graph: Receives the nodes.
        layer: The layer.
        input_scale: The scale of its input.
    """
    most = _WEIGHT_QMAX[graph.config.target]
    scales = _scales(layer.weight, most)
    by_channel = layer.weight / scales.astype(np.float64).reshape(-1, *[1] * (layer.weight.ndim - 1))
    weight = np.rint(by_channel).clip(-most, most).astype(np.int8)
    name, channels = layer.name, len(scales)
    inputs = [
        graph.constant(f"{name}.weight", weight),
        graph.constant(f"{name}.weight.scale", scales),
        graph.constant(f"int8.zeros{channels}", np.zeros(channels, np.int8)),
    ]
    return [
        graph.node("DequantizeLinear", inputs, f"{name}/weight", axis=0),
        _write_bias(graph, layer, scales.astype(np.float64) * input_scale),
    ]


def _write_bias(graph: GraphWriter, layer: Conv | Linear, scales: Doubles) -> str:
    """Appends the bias; for onnxruntime in the scale of the products that it is added to, as it computes."""
    name, limit = layer.name, np.iinfo(np.int32)
    rounded = np.rint(layer.bias / scales)
    if graph.config.target == "tensorrt" or np.abs(rounded).max(initial=0) > limit.max:
        return graph.constant(f"{name}.bias", layer.bias.astype(np.float32))
    inputs = [
        graph.constant(f"{name}.bias", rounded.astype(np.int32)),
        graph.constant(f"{name}.bias.scale", scales.astype(np.float32)),
        graph.constant(f"int32.zeros{len(scales)}", np.zeros(len(scales), np.int32)),
    ]
    return graph.node("DequantizeLinear", inputs, f"{name}/bias", axis=0)


def _scales(weight: Doubles, most: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Returns the scale of each output channel, float32 (channels,); 1 for a channel of zeros."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1) / most
    # Excludes numbers so small that their quotient overflows.
    return np.where(largest > np.finfo(np.float32).tiny, largest, 1.0).astype(np.float32)


def write_net(graph: GraphWriter, layers: Sequence[Layer], x: Value) -> Value:
    """Appends all layers of a network.

    Args:
        graph: Receives the nodes.
        layers: From `read_layers`.
        x: Normalised crops, (batch, 3, height, width) in the graph's type.

    Returns:
        The output of the last layer.

    Raises:
        UserError: A layer does not fit the output of the one before it, or its weights do not fit the
            precision.
    """
    for layer in layers:
        x = write_layer(layer, graph, x)
    return x


@functools.singledispatch
def write_layer(layer: Layer, graph: GraphWriter, x: Value) -> Value:
    """Appends one layer and returns its output."""
    raise TypeError(f"no nodes are known for {type(layer).__name__} ({graph}, {x})")


@write_layer.register
def _(layer: Conv, graph: GraphWriter, x: Value) -> Value:
    channels_out, channels_in = layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    _check_fit(layer.name, len(x.shape) == 3 and x.shape[0] == channels_in, f"{channels_in} channels", x)
    output = graph.node(
        "Conv",
        _factors(graph, layer, x),
        _product_name(graph, layer),
        kernel_shape=layer.weight.shape[2:],
        strides=layer.strides,
        pads=layer.pads,
        dilations=layer.dilations,
        group=layer.groups,
    )
    output = _round_output(graph, layer, output)
    pads = (layer.pads[0] + layer.pads[2], layer.pads[1] + layer.pads[3])
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilations, layer.weight.shape[2:], strict=True)]
    return Value(output, (channels_out, *_slide(layer.name, x, pads, reach, layer.strides)))


@write_layer.register
def _(layer: Linear, graph: GraphWriter, x: Value) -> Value:
    outputs, inputs = layer.weight.shape
    _check_fit(layer.name, x.shape == (inputs,), f"{inputs} values", x)
    output = graph.node("Gemm", _factors(graph, layer, x), _product_name(graph, layer), transB=1)
    return Value(_round_output(graph, layer, output), (outputs,))


@write_layer.register
def _(layer: BatchNorm, graph: GraphWriter, x: Value) -> Value:
    # The statistics are already in scale and shift: mean 0, variance 1 and epsilon 0 leave them as they are.
    channels = len(layer.scale)
    _check_fit(layer.name, x.shape[0] == channels, f"{channels} channels", x)
    zeros, ones = np.zeros(channels), np.ones(channels)
    weights = _weights(graph, layer.name, scale=layer.scale, shift=layer.shift, mean=zeros, variance=ones)
    return Value(graph.node("BatchNormalization", [x.name, *weights], layer.name, epsilon=0.0), x.shape)


@write_layer.register
def _(layer: Relu, graph: GraphWriter, x: Value) -> Value:
    return Value(graph.node("Relu", [x.name], layer.name), x.shape)


@write_layer.register
def _(layer: Lrn, graph: GraphWriter, x: Value) -> Value:
    _check_fit(layer.name, len(x.shape) == 3, "a map", x)
    return write_lrn(layer, graph, x)


@write_layer.register
def _(layer: MaxPool, graph: GraphWriter, x: Value) -> Value:
    _check_fit(layer.name, len(x.shape) == 3, "a map", x)
    top, left, bottom, right = _pool_pads(layer, x)
    output = graph.node(
        "MaxPool",
        [x.name],
        layer.name,
        kernel_shape=layer.kernel,
        strides=layer.strides,
        pads=(top, left, bottom, right),
    )
    pads = (top + bottom, left + right)
    return Value(output, (x.shape[0], *_slide(layer.name, x, pads, list(layer.kernel), layer.strides)))


def _pool_pads(layer: MaxPool, x: Value) -> tuple[int, int, int, int]:
    """Returns (top, left, bottom, right); for a pool that rounds up, with the overhang of its last windows.

    Explicit padding leaves runtimes no choice about windows that begin beyond the map.
    """
    over = [0, 0]
    if layer.ceil:
        for axis, side in enumerate(x.shape[1:]):
            pad, stride = layer.pads[axis], layer.strides[axis]
            rest = (side + 2 * pad - layer.kernel[axis]) % stride
            places = -(-(side + 2 * pad - layer.kernel[axis]) // stride)
            over[axis] = stride - rest if rest and places * stride < side + pad else 0
    return (*layer.pads, layer.pads[0] + over[0], layer.pads[1] + over[1])


@write_layer.register
def _(layer: GlobalPool, graph: GraphWriter, x: Value) -> Value:
    _check_fit(layer.name, len(x.shape) == 3, "a map", x)
    return Value(graph.node("GlobalAveragePool", [x.name], layer.name), (x.shape[0], 1, 1))


@write_layer.register
def _(layer: Flatten, graph: GraphWriter, x: Value) -> Value:
    return Value(graph.node("Flatten", [x.name], layer.name, axis=1), (math.prod(x.shape),))


def _factors(graph: GraphWriter, layer: Conv | Linear, x: Value) -> list[str]:
    """Returns the names of input, weights and bias of a layer, rounded to int8 in an int8 graph."""
    scales = graph.config.scales
    if scales is None:
        return [x.name, *_weights(graph, layer.name, weight=layer.weight, bias=layer.bias)]
    scale = scales.inputs[layer.name]
    rounded = write_quantized(graph, x.name, scale, f"{layer.name}/input")
    return [rounded, *write_int8_weights(graph, layer, scale)]


def _product_name(graph: GraphWriter, layer: Conv | Linear) -> str:
    return layer.name if _output_scale(graph, layer) is None else f"{layer.name}/product"


def _round_output(graph: GraphWriter, layer: Conv | Linear, output: str) -> str:
    """Appends the rounding of an output to int8 in an int8 graph."""
    scale = _output_scale(graph, layer)
    return output if scale is None else write_quantized(graph, output, scale, layer.name)


def _output_scale(graph: GraphWriter, layer: Conv | Linear) -> float | None:
    """Returns the scale of an output; None if it is not rounded.

    onnxruntime needs the rounding right behind a layer to compute it in integers, TensorRT at the next layer.
    """
    if graph.config.scales is None or graph.config.target == "tensorrt":
        return None
    return graph.config.scales.outputs.get(layer.name)


def _weights(graph: GraphWriter, layer: str, **arrays: Doubles) -> list[str]:
    """Adds the weights of a layer in the graph's type, each named layer.kind."""
    limit = graph.largest
    for kind, array in arrays.items():
        if np.abs(array).max(initial=0) > limit:
            raise UserError(
                f"the {kind} of layer {layer} exceeds {limit:g}, the largest number of"
                f" --precision {graph.config.precision}",
                "use --precision fp32",
            )
    return [graph.constant(f"{layer}.{kind}", a.astype(graph.dtype)) for kind, a in arrays.items()]


def _slide(name: str, x: Value, pads: Any, reach: list[int], strides: Any) -> tuple[int, int]:
    """Returns the (height, width) of the output of a window of `reach` pixels."""
    height, width = (
        (size + pad - window) // stride + 1
        for size, pad, window, stride in zip(x.shape[1:], pads, reach, strides, strict=True)
    )
    _check_fit(name, height > 0 and width > 0, f"a map of at least {reach[0]}x{reach[1]}", x)
    return height, width


def _check_fit(name: str, fits: bool, expected: str, x: Value) -> None:
    if not fits:
        size = "x".join(map(str, x.shape))
        raise UserError(
            f"layer {name} takes {expected} but gets {size}",
            "export with the --crop and --resize that the network was trained with",
        )
