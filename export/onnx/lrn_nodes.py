"""Local response normalisation as ONNX nodes, in the form that the target runs best.

"band" adds up the squares of neighbouring channels as a 1x1 convolution whose weights are a band matrix: on a
CPU a matrix product costs less than the passes over memory that it replaces. "node" is the one LRN operator,
which TensorRT fuses. "sums" are additions of shifted channel slices, which do not overflow float16.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from alexnet_fast.export.onnx.writer import GraphWriter, Value

if TYPE_CHECKING:
    from alexnet_fast.export.layers import Lrn


def write_lrn(layer: Lrn, graph: GraphWriter, x: Value) -> Value:
    """Appends local response normalisation of a (batch, channels, height, width) map."""
    if graph.form.precision == "bf16":
        return Value(_in_float(layer, graph, x), x.shape)
    if graph.form.lrn == "node":
        return Value(_one_node(layer, graph, x.name, layer.name), x.shape)
    write = _band if graph.form.lrn == "band" else _sums
    return Value(
        graph.node("Div", [x.name, _power(layer, graph, write(layer, graph, x))], layer.name), x.shape
    )


def _band(layer: Lrn, graph: GraphWriter, x: Value) -> str:
    name, channels = layer.name, np.arange(x.shape[0])
    near = np.abs(channels[:, None] - channels) <= layer.size // 2
    weight = (near * (layer.alpha / layer.size))[:, :, None, None].astype(graph.dtype)
    squares = graph.node("Mul", [x.name, x.name], f"{name}/squares")
    constants = [
        graph.constant(f"{name}.band", weight),
        graph.constant(f"{name}.k", np.full(len(channels), layer.k, graph.dtype)),
    ]
    return graph.node("Conv", [squares, *constants], f"{name}/base", kernel_shape=[1, 1])


def _one_node(layer: Lrn, graph: GraphWriter, x: str, name: str) -> str:
    return graph.node("LRN", [x], name, size=layer.size, alpha=layer.alpha, beta=layer.beta, bias=layer.k)


def _in_float(layer: Lrn, graph: GraphWriter, x: Value) -> str:
    """Normalises in float32: bfloat16 has its range, but sums of squares would keep two digits."""
    wide = graph.node("Cast", [x.name], f"{layer.name}/float", to=TensorProto.FLOAT)
    normalised = _one_node(layer, graph, wide, f"{layer.name}/normalised")
    return graph.node("Cast", [normalised], layer.name, to=TensorProto.BFLOAT16)


def _sums(layer: Lrn, graph: GraphWriter, x: Value) -> str:
    """Squares sqrt(alpha / size) * x rather than x: x = 1000 squared is no float16 (largest: 65504)."""
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
