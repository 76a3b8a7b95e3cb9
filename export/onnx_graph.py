"""One ONNX file from uint8 pictures to class probabilities, with the crops and their average inside.

    export_onnx(net, spec, classes, Path("model.onnx"), model_name="alexnet", provenance={"epoch": 90})

Input `pictures`: uint8 (batch, resize, resize, 3), RGB. Output `probabilities`: float32 (batch, classes).
Whoever serves the file resizes pictures and does nothing else. The same net gives the same bytes each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto, helper

from alexnet_fast import __version__
from alexnet_fast.errors import UserError
from alexnet_fast.export.crop_nodes import write_average, write_crops, write_pictures
from alexnet_fast.export.graph_writer import GraphWriter, LrnForm, Precision, Value
from alexnet_fast.export.layer_nodes import write_net
from alexnet_fast.export.metadata import INPUT, OUTPUT, PRODUCER, GraphMetadata
from alexnet_fast.export.net_layers import read_layers
from alexnet_fast.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from alexnet_fast.pipelines.crops import Crops
    from alexnet_fast.pipelines.spec import AugmentSpec

# The oldest operator set with all that is written here (ReduceMean takes its axes as an input from 18 on),
# because old ones are read by more: TensorRT's parser reads 9 and later (its "ONNX Opset Guide"). 8 is the
# file format of ONNX 1.13, which brought that set (onnx/docs/Versioning.md).
OPSET = 18
IR_VERSION = 8


def export_onnx(
    net: torch.nn.Module,
    spec: AugmentSpec,
    classes: Sequence[str],
    path: Path,
    *,
    crops: Crops = "ten",
    lrn: LrnForm = "sums",
    model_name: str,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a network as an ONNX file; the network itself is left as it is.

    Args:
        net: A sequential network that returns logits; it is exported as it computes in evaluation mode.
        spec: Sizes and normalisation that it was trained with.
        classes: Names of its outputs, in order.
        path: File to write, whole or not at all.
        crops: "ten" averages over the ten crops, "single" takes the centre.
        lrn: "sums" for onnxruntime, "node" for TensorRT in float32.
        model_name: Name of the architecture.
        provenance: JSON values that say where the weights come from. No time of day, which would change the
            bytes.

    Raises:
        UserError: A layer cannot be expressed or does not fit (named), the class names do not fit the
            outputs, or the file cannot be written.
    """
    metadata = GraphMetadata(
        classes=tuple(classes),
        spec=spec,
        model=model_name,
        crops=crops,
        version=__version__,
        provenance=provenance,
    )
    model = build_model(net, metadata, lrn=lrn)
    write_model(model, path)


def build_model(
    net: torch.nn.Module, metadata: GraphMetadata, *, lrn: LrnForm = "sums", precision: Precision = "fp32"
) -> onnx.ModelProto:
    """Builds the graph in memory.

    Args:
        net: As in `export_onnx`.
        metadata: Class names, preprocessing, crops and the rest that the file says about itself.
        lrn: As in `export_onnx`.
        precision: "fp16" keeps weights and activations in half precision; normalisation of the pictures,
            softmax and averaging stay in float32.

    Raises:
        UserError: As `export_onnx`.
    """
    if precision == "fp16" and lrn == "node":
        raise UserError("the LRN operator overflows in --precision fp16", 'write it as lrn="sums"')
    spec, crops = metadata.spec, metadata.crops
    graph = GraphWriter(precision=precision, lrn=lrn)
    pixels = write_pictures(graph, spec, INPUT)
    logits = write_net(graph, read_layers(net), write_crops(graph, spec, pixels, crops))
    _check_outputs(logits, metadata)
    write_average(graph, logits, crops, OUTPUT)
    return _finish(graph, metadata)


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Checks a model with ONNX's own checker, shapes included, and writes it atomically."""
    onnx.checker.check_model(model, full_check=True)
    write_atomically(path, serialize(model))


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


def _finish(graph: GraphWriter, metadata: GraphMetadata) -> onnx.ModelProto:
    side = metadata.spec.resize
    body = helper.make_graph(
        graph.nodes,
        f"{metadata.model} {metadata.crops}-crop",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", side, side, 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", len(metadata.classes)])],
        initializer=graph.initializers,
    )
    model = helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=metadata.version,
    )
    helper.set_model_props(model, metadata.to_props())
    return model
