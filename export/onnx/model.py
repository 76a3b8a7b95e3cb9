"""The ONNX graph from uint8 images to class probabilities, with the crops and their average inside.

Input `images`: uint8 (batch, resize, resize, 3), RGB. Output `probabilities`: float32 (batch, classes).
Callers resize the images; everything else is in the graph. The same net gives the same bytes each time.

`lower` decides who writes the network: one whose layers `layers.read` knows exactly is written node by node,
every other one by torch's exporter (`torch_graph`), between the same nodes for images, crops and averages.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import CPU_CONFIG, GraphConfig
from alexnet_fast.export.layers import Layer, Linear, NetLayers, read
from alexnet_fast.export.onnx.crops import write_average, write_crops, write_extra, write_images, write_top
from alexnet_fast.export.onnx.ops import write_net
from alexnet_fast.export.onnx.stem import write_stem
from alexnet_fast.export.onnx.stem_plan import StemPlan, plan_stem
from alexnet_fast.export.onnx.writer import GraphWriter, Value
from alexnet_fast.runtime.manifest import FileStamp, stamp_content
from alexnet_fast.runtime.metadata import (
    FEATURES,
    INPUT,
    LOGITS,
    OUTPUT,
    PRODUCER,
    TOP_CLASSES,
    TOP_PROBABILITIES,
    GraphMetadata,
)
from alexnet_fast.utils.atomic import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch


# The oldest operator set with all that is written here (ReduceMean takes its axes as an input from 18 on),
# because old ones are read by more: TensorRT's parser reads 9 and later (its "ONNX Opset Guide"). 8 is the
# file format of ONNX 1.13, which brought that set (onnx/docs/Versioning.md).
OPSET = 18
IR_VERSION = 8
# The first operator set whose Conv and MaxPool take bfloat16, and the format of ONNX 1.17, which brought it.
_BF16_OPSET, _BF16_IR_VERSION = 22, 10


def build_model(
    net: torch.nn.Module, metadata: GraphMetadata, config: GraphConfig = CPU_CONFIG
) -> onnx.ModelProto:
    """Reads and lowers a network.

    Args:
        net: Maps float32 (N, 3, crop, crop), normalised as the spec says, to logits (N, classes). It is
            exported as it computes in evaluation mode, and not changed.
        metadata: As in `lower`.
        config: As in `lower`.

    Raises:
        UserError: As `lower`.
    """
    return lower(read(net), metadata, config)


def lower(network: NetLayers, metadata: GraphMetadata, config: GraphConfig = CPU_CONFIG) -> onnx.ModelProto:
    """Builds the graph of a network in memory.

    Args:
        network: From `layers.read`.
        metadata: Class names, preprocessing, crops and the rest of the description inside the file.
        config: How the graph is written. In half precision the normalisation of the images, softmax and
            averaging stay in float32.

    Raises:
        UserError: Neither our writer nor torch's exporter can express a layer, or it does not fit (it is
            named); the class names do not fit the outputs; or `config.top` exceeds the number of classes.
    """
    if config.top > len(metadata.classes):
        raise UserError(
            f"--top-k {config.top} exceeds the {len(metadata.classes)} classes of the network",
            f"give at most {len(metadata.classes)}",
            exit_code=2,
        )
    crops = metadata.crops
    graph = GraphWriter(config)
    pixels = write_images(graph, metadata.spec, INPUT)
    logits, features = _write_net(graph, network, metadata, pixels)
    if features is None and FEATURES in config.extras:
        raise UserError(
            f"--features is unavailable: no matrix product makes the answer of {type(network.net).__name__}",
            "leave it out",
            exit_code=2,
        )
    values = {LOGITS: logits, FEATURES: features or logits}
    _check_outputs(logits, metadata)
    write_average(graph, logits, crops, OUTPUT)
    for name in config.extras:
        write_extra(graph, values[name], crops, name)
    if config.top:
        write_top(graph, config.top)
    return _finish(graph, metadata, values)


def _write_net(
    graph: GraphWriter, network: NetLayers, metadata: GraphMetadata, pixels: Value
) -> tuple[Value, Value | None]:
    """Appends crops and network: node by node if all layers are known exactly, else by torch's exporter.

    Returns:
        The logits, and the input of the last matrix product; None if there is none.
    """
    if network.unknown is not None:
        from alexnet_fast.export.torch_graph import write_traced

        x = write_crops(graph, metadata.spec, pixels, metadata.crops)
        return write_traced(graph, network.net, network.unknown, x, versions_of(graph.config)[0])
    layers = network.layers
    plan = plan_for(layers, metadata, graph.config)
    if plan is not None and plan.stages:
        layers, x = plan.rest, write_stem(graph, plan, pixels)
    else:
        x = write_crops(graph, metadata.spec, pixels, metadata.crops)
    products = [place for place, layer in enumerate(layers) if isinstance(layer, Linear)]
    if not products:
        return write_net(graph, layers, x), None
    features = write_net(graph, layers[: products[-1]], x)
    return write_net(graph, layers[products[-1] :], features), features


def describe_writer(network: NetLayers, metadata: GraphMetadata) -> str:
    """Returns one sentence: what the crops share in model.onnx, or why torch's exporter wrote it."""
    if network.unknown is not None:
        return f"written by torch's exporter: {network.unknown.layer} {network.unknown.why}"
    plan = plan_for(network.layers, metadata, CPU_CONFIG)
    return "one crop" if plan is None else plan.describe()


def plan_for(layers: Sequence[Layer], metadata: GraphMetadata, config: GraphConfig) -> StemPlan | None:
    """Returns what the crops share; None if `config` shares nothing or there is a single crop."""
    if config.stem == "plain" or metadata.crops == "single":
        return None
    return plan_stem(layers, metadata.spec, mirrored=metadata.crops == "ten", eager=config.stem == "eager")


def write_model(model: onnx.ModelProto, path: Path) -> FileStamp:
    """Checks a model with ONNX's own checker, shapes included, writes it atomically, and returns its stamp.

    Raises:
        UserError: The checker refuses it, it exceeds the size limit of ONNX files, or it cannot be written.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(
            f"the graph of {model.graph.name} is not valid ONNX ({str(error).strip().splitlines()[0]})",
            "please report this network",
        ) from error
    content = serialize(model)
    write_atomically(path, content)
    return stamp_content(path.name, content)


def serialize(model: onnx.ModelProto) -> bytes:
    """Returns the bytes of a model, the same for the same model."""
    return bytes(model.SerializeToString(deterministic=True))


def _check_outputs(logits: Value, metadata: GraphMetadata) -> None:
    if logits.shape != (len(metadata.classes),):
        raise UserError(
            f"the network answers with {'x'.join(map(str, logits.shape))} values for "
            f"{len(metadata.classes)} class names",
            "give the class map that it was trained with",
        )


def versions_of(config: GraphConfig) -> tuple[int, int]:
    """Returns the operator set and the file format of a graph."""
    return (_BF16_OPSET, _BF16_IR_VERSION) if config.precision == "bf16" else (OPSET, IR_VERSION)


def _output(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])


def _finish(graph: GraphWriter, metadata: GraphMetadata, extras: Mapping[str, Value]) -> onnx.ModelProto:
    side, config = metadata.spec.resize, graph.config
    outputs = [_output(OUTPUT, len(metadata.classes))]
    outputs += [_output(name, *extras[name].shape) for name in config.extras]
    if config.top:
        outputs += [
            _output(TOP_CLASSES, config.top, kind=TensorProto.INT64),
            _output(TOP_PROBABILITIES, config.top),
        ]
    opset, ir_version = versions_of(config)
    body = helper.make_graph(
        graph.nodes,
        f"{metadata.model} {metadata.crops}-crop",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", side, side, 3])],
        outputs,
        initializer=graph.initializers,
    )
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version,
        producer_name=PRODUCER,
        producer_version=metadata.version,
    )
    helper.set_model_props(model, metadata.to_props())
    return model
