"""Writes int8 as pairs of QuantizeLinear and DequantizeLinear around what shall be computed in it.

The pairs say where numbers are rounded; a runtime that knows them fuses them with the convolution or matrix
product between them into one integer kernel, and every other one rounds and goes on in float32. TensorRT and
onnxruntime look for other pairs: TensorRT joins a convolution with the ReLU behind it and with the
QuantizeLinear of the next layer. onnxruntime takes the QuantizeLinear right behind the convolution, and
biases of int32. Where the pair stands in front of the ReLU or behind makes no difference: zero is zero in
symmetric int8, and what a negative number saturates to is cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.export.scales import QMAX

if TYPE_CHECKING:
    from alexnet_fast.export.graph_form import Target
    from alexnet_fast.export.layers import Array, Conv, Linear
    from alexnet_fast.export.onnx.writer import GraphWriter

# Steps of a weight to either side of zero. Processors without VNNI add products by twos in 16 bits and cut
# off what does not fit (vpmaddubsw); onnxruntime gives them inputs from 0 to 255, and 2 * 255 * 64 fits.
# With 127 such a processor answers something else. A GPU adds in 32 bits.
# https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html ("When and why do I need to
# try U8U8?").
_WEIGHT_STEPS: dict[Target, int] = {"onnxruntime": 64, "tensorrt": QMAX}


def write_quantized(graph: GraphWriter, x: str, scale: float, name: str) -> str:
    """Appends the rounding of a tensor to int8 and back.

    Args:
        graph: Receives the nodes.
        x: float32.
        scale: What one step stands for.
        name: Of the two nodes, less their endings.
    """
    step = graph.constant(f"{name}.scale", np.array(scale, np.float32))
    # Left out, it would mean uint8.
    zero = graph.constant("int8.zero", np.array(0, np.int8))
    quantized = graph.node("QuantizeLinear", [x, step, zero], f"{name}/int8")
    return graph.node("DequantizeLinear", [quantized, step, zero], f"{name}/float")


def write_int8_weights(graph: GraphWriter, layer: Conv | Linear, input_scale: float) -> list[str]:
    """Appends weights and bias of a layer, the weights as int8 with a step for each output channel.

    Each channel uses all the steps that the target's kernels can add up: 64 for onnxruntime, 127 for
    TensorRT.

    Args:
        graph: Receives the nodes.
        layer: The layer.
        input_scale: What one step of its input stands for.
    """
    most = _WEIGHT_STEPS[graph.form.target]
    steps = _steps(layer.weight, most)
    by_channel = layer.weight / steps.astype(np.float64).reshape(-1, *[1] * (layer.weight.ndim - 1))
    weight = np.rint(by_channel).clip(-most, most).astype(np.int8)
    name, channels = layer.name, len(steps)
    inputs = [
        graph.constant(f"{name}.weight", weight),
        graph.constant(f"{name}.weight.scale", steps),
        graph.constant(f"int8.zeros{channels}", np.zeros(channels, np.int8)),
    ]
    return [
        graph.node("DequantizeLinear", inputs, f"{name}/weight", axis=0),
        _write_bias(graph, layer, steps.astype(np.float64) * input_scale),
    ]


def _write_bias(graph: GraphWriter, layer: Conv | Linear, steps: Array) -> str:
    """Appends the bias: for onnxruntime in the steps of the products that it is added to, as it computes."""
    name, limit = layer.name, np.iinfo(np.int32)
    rounded = np.rint(layer.bias / steps)
    if graph.form.target == "tensorrt" or np.abs(rounded).max(initial=0) > limit.max:
        return graph.constant(f"{name}.bias", layer.bias.astype(np.float32))
    inputs = [
        graph.constant(f"{name}.bias", rounded.astype(np.int32)),
        graph.constant(f"{name}.bias.scale", steps.astype(np.float32)),
        graph.constant(f"int32.zeros{len(steps)}", np.zeros(len(steps), np.int32)),
    ]
    return graph.node("DequantizeLinear", inputs, f"{name}/bias", axis=0)


def _steps(weight: Array, most: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Returns the step of each output channel, float32 (channels,); that of a channel of zeros is 1."""
    largest = np.abs(weight).reshape(len(weight), -1).max(axis=1) / most
    # Kept away from numbers so small that their quotient overflows.
    return np.where(largest > np.finfo(np.float32).tiny, largest, 1.0).astype(np.float32)
