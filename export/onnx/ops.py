"""Writes each layer of a network as ONNX nodes, and follows the sizes so that a misfit is named."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.export.layers import (
    Array,
    BatchNorm,
    Conv,
    Flatten,
    GlobalPool,
    Layer,
    Linear,
    Lrn,
    MaxPool,
    Relu,
)
from alexnet_fast.export.onnx.int8_nodes import write_int8_weights, write_quantized
from alexnet_fast.export.onnx.lrn_nodes import write_lrn
from alexnet_fast.export.onnx.writer import GraphWriter, Value


def write_net(graph: GraphWriter, layers: list[Layer], x: Value) -> Value:
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
    """Returns (top, left, bottom, right), of a pool that rounds up with what its last windows hang over.

    Padding that is written out leaves no runtime a choice about windows that begin beyond the map.
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
    """Returns the names of input, weights and bias of a layer, rounded to int8 where the graph is."""
    scales = graph.form.scales
    if scales is None:
        return [x.name, *_weights(graph, layer.name, weight=layer.weight, bias=layer.bias)]
    scale = scales.inputs[layer.name]
    rounded = write_quantized(graph, x.name, scale, f"{layer.name}/input")
    return [rounded, *write_int8_weights(graph, layer, scale)]


def _product_name(graph: GraphWriter, layer: Conv | Linear) -> str:
    return layer.name if _output_scale(graph, layer) is None else f"{layer.name}/product"


def _round_output(graph: GraphWriter, layer: Conv | Linear, output: str) -> str:
    """Appends the rounding of an output to int8 where the graph wants it."""
    scale = _output_scale(graph, layer)
    return output if scale is None else write_quantized(graph, output, scale, layer.name)


def _output_scale(graph: GraphWriter, layer: Conv | Linear) -> float | None:
    """Returns what one step of an output stands for.

    onnxruntime computes in integers what is rounded right behind, TensorRT what is rounded at the next layer.
    """
    if graph.form.scales is None or graph.form.target == "tensorrt":
        return None
    return graph.form.scales.outputs.get(layer.name)


def _weights(graph: GraphWriter, layer: str, **arrays: Array) -> list[str]:
    """Adds the weights of a layer in the graph's type, each named layer.kind."""
    limit = graph.largest
    for kind, array in arrays.items():
        if np.abs(array).max(initial=0) > limit:
            raise UserError(
                f"the {kind} of layer {layer} exceeds {limit:g}, the largest number of"
                f" --precision {graph.form.precision}",
                "use --precision fp32",
            )
    return [graph.constant(f"{layer}.{kind}", a.astype(graph.dtype)) for kind, a in arrays.items()]


def _slide(name: str, x: Value, pads: Any, reach: list[int], strides: Any) -> tuple[int, int]:
    """Returns the (height, width) that a window of `reach` pixels leaves of a map."""
    height, width = (
        (size + pad - window) // stride + 1
        for size, pad, window, stride in zip(x.shape[1:], pads, reach, strides, strict=True)
    )
    _check_fit(name, height > 0 and width > 0, f"a map of at least {reach[0]}x{reach[1]}", x)
    return height, width


def _check_fit(name: str, fits: bool, wanted: str, x: Value) -> None:
    if not fits:
        size = "x".join(map(str, x.shape))
        raise UserError(
            f"layer {name} takes {wanted} but is given {size}",
            "export with the --crop and --resize that the network was trained with",
        )
