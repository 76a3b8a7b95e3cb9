"""The ends of the graph: from uint8 images to normalised crops, and from logits to averaged probabilities.

The nodes do what `alexnet_fast.pipelines.ten_crop` does in torch, in a cheaper order: images are
normalised once, before the ten crops copy each pixel up to ten times, and mirrored once as a whole, since the
mirror image of a crop is a crop of the mirror image. (Folding mean and std into the first convolution would
be cheaper still, but is wrong where it pads with zeros.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper

from alexnet_fast.export.onnx.writer import GraphWriter, Value
from alexnet_fast.pipelines.ten_crop import CROPS, crop_offsets
from alexnet_fast.runtime.metadata import OUTPUT, TOP_CLASSES, TOP_PROBABILITIES

if TYPE_CHECKING:
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops

# The smallest int64 means "to before the first element" in a Slice that runs backwards (ONNX operator
# Slice-13).
_BEFORE_FIRST = int(np.iinfo(np.int64).min)


def write_images(graph: GraphWriter, spec: AugmentSpec, images: str) -> Value:
    """Appends the nodes from images to normalised pixels.

    The Cast comes first: TensorRT's parser accepts no other operator on uint8.

    Args:
        graph: Receives the nodes.
        spec: Sizes and normalisation.
        images: Name of the input, uint8 (batch, resize, resize, 3), RGB.

    Returns:
        (batch, 3, resize, resize) in the graph's own type.
    """
    x = graph.node("Cast", [images], "images/float", to=TensorProto.FLOAT)
    x = graph.node("Transpose", [x], "images/nchw", perm=[0, 3, 1, 2])
    x = graph.node("Sub", [x, graph.constant("images.mean", _per_channel(spec.mean))], "images/centred")
    if any(value != 1 for value in spec.std):
        x = graph.node("Div", [x, graph.constant("images.std", _per_channel(spec.std))], "images/scaled")
    if graph.narrow is not None:
        x = graph.node("Cast", [x], "images/half", to=graph.narrow)
    return Value(x, (3, spec.resize, spec.resize))


def write_crops(graph: GraphWriter, spec: AugmentSpec, x: Value, crops: Crops) -> Value:
    """Appends the nodes that cut the crops.

    Returns:
        (crops * batch, 3, crop, crop), crop by crop in the order of `pipelines.ten_crop.take_crops`.
    """
    offsets, shape = crop_offsets(spec, crops), (3, spec.crop, spec.crop)
    if crops == "single" and spec.margin == 0:
        return Value(x.name, shape)
    cuts = [_cut(graph, spec, x.name, f"crops/{i}", offset) for i, offset in enumerate(offsets)]
    if crops == "single":
        return Value(cuts[0], shape)
    if crops == "ten":
        mirrored = mirror(graph, x.name)
        for i, (top, left) in enumerate(offsets, start=len(offsets)):
            cuts.append(_cut(graph, spec, mirrored, f"crops/{i}", (top, spec.margin - left)))
    return Value(graph.node("Concat", cuts, "crops/all", axis=0), shape)


def write_average(graph: GraphWriter, logits: Value, crops: Crops, output: str) -> None:
    """Appends softmax and the mean over crops, both in float32.

    Args:
        graph: Receives the nodes.
        logits: (crops * batch, classes), crop by crop.
        crops: The crops.
        output: Name of the result, float32 (batch, classes).
    """
    if crops == "single":
        graph.node("Softmax", [_float(graph, logits)], output, axis=1)
        return
    x = graph.node("Softmax", [_float(graph, logits)], "average/softmax", axis=1)
    _write_mean(graph, Value(x, logits.shape), crops, output)


def write_extra(graph: GraphWriter, value: Value, crops: Crops, output: str) -> None:
    """Appends another output: the mean of a layer's values over the crops, in float32.

    Args:
        graph: Receives the nodes.
        value: (crops * batch, features), crop by crop.
        crops: The crops.
        output: Name of the result, float32 (batch, features).
    """
    _write_mean(graph, Value(_float(graph, value), value.shape), crops, output)


def write_top(graph: GraphWriter, top: int) -> None:
    """Appends the top classes and their probabilities, most probable first, as two more outputs."""
    graph.nodes.append(
        helper.make_node(
            "TopK", [OUTPUT, graph.integers(top)], [TOP_PROBABILITIES, TOP_CLASSES], name="top", axis=1
        )
    )


def _float(graph: GraphWriter, value: Value) -> str:
    if graph.narrow is None:
        return value.name
    name = f"{value.name}/float"
    # Probabilities and logits come from one value.
    return name if graph.has(name) else graph.node("Cast", [value.name], name, to=TensorProto.FLOAT)


def _write_mean(graph: GraphWriter, value: Value, crops: Crops, output: str) -> None:
    if crops == "single":
        graph.node("Identity", [value.name], output)
        return
    shape = graph.integers(CROPS[crops], -1, *value.shape)
    x = graph.node("Reshape", [value.name, shape], f"{output}/by_crop")
    graph.node("ReduceMean", [x, graph.integers(0)], output, keepdims=0)


def _cut(graph: GraphWriter, spec: AugmentSpec, x: str, name: str, offset: tuple[int, int]) -> str:
    top, left = offset
    return graph.cut(x, name, {2: (top, top + spec.crop), 3: (left, left + spec.crop)})


def mirror(graph: GraphWriter, x: str) -> str:
    """Reverses the columns of a (batch, channels, height, width) map."""
    last = graph.integers(-1)
    columns = [x, last, graph.integers(_BEFORE_FIRST), graph.integers(3), last]
    return graph.node("Slice", columns, "crops/mirror")


def _per_channel(values: tuple[float, float, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32).reshape(1, 3, 1, 1)
