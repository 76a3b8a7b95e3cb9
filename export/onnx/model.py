"""One ONNX file from uint8 images to class probabilities, with the crops and their average inside.

    export_onnx(net, spec, classes, Path("model.onnx"), model_name="alexnet", provenance={"epoch": 90})

Input `images`: uint8 (batch, resize, resize, 3), RGB. Output `probabilities`: float32 (batch, classes).
Whoever serves the file resizes images and does nothing else. The same net gives the same bytes each time.

`build_model` decides who writes the network: what `net_layers` knows exactly is written node by node,
everything else by torch's exporter (`torch_graph`), between the same nodes for images, crops and averages.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto, helper

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import CPU_CONFIG, GraphConfig
from alexnet_fast.export.layers import Layer, Linear, UnknownLayerError, read_layers, unknown_layer
from alexnet_fast.export.limits import TOLERANCE
from alexnet_fast.export.onnx.crops import write_average, write_crops, write_extra, write_images, write_top
from alexnet_fast.export.onnx.ops import write_net
from alexnet_fast.export.onnx.stem import write_stem
from alexnet_fast.export.onnx.stem_plan import StemPlan, plan_stem
from alexnet_fast.export.onnx.writer import GraphWriter, Value
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
from alexnet_fast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops

# The oldest operator set with all that is written here (ReduceMean takes its axes as an input from 18 on),
# because old ones are read by more: TensorRT's parser reads 9 and later (its "ONNX Opset Guide"). 8 is the
# file format of ONNX 1.13, which brought that set (onnx/docs/Versioning.md).
OPSET = 18
IR_VERSION = 8
# The first operator set whose Conv and MaxPool take bfloat16, and the format of ONNX 1.17, which brought it.
_BF16_OPSET, _BF16_IR_VERSION = 22, 10


def export_onnx(
    net: torch.nn.Module,
    spec: AugmentSpec,
    classes: Sequence[str],
    path: Path,
    *,
    crops: Crops = "ten",
    form: GraphConfig = CPU_CONFIG,
    model_name: str,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a network as an ONNX file that answers as PyTorch does; the network itself is left as it is.

    Args:
        net: As in `build_model`.
        spec: Sizes and normalisation that it was trained with.
        classes: Names of its outputs, in order.
        path: File to write, whole or not at all.
        crops: "ten" averages over the ten crops, "single" takes the centre.
        form: How it is written, for whom.
        model_name: Name of the architecture.
        provenance: JSON values that say where the weights come from. No time of day, which would change the
            bytes.

    Raises:
        UserError: As `build_model`; or the file answers otherwise than PyTorch, or cannot be written.
    """
    metadata = GraphMetadata(
        classes=tuple(classes),
        spec=spec,
        model=model_name,
        crops=crops,
        version=__version__,
        provenance=provenance,
    )
    export_proven(net, metadata, path, form)


def export_proven(
    net: torch.nn.Module,
    metadata: GraphMetadata,
    path: Path,
    form: GraphConfig = CPU_CONFIG,
    tolerance: float = TOLERANCE,
) -> None:
    """Builds a graph and writes it, once it has answered generated images as PyTorch does.

    Args:
        net: As in `build_model`.
        metadata: As in `build_model`.
        path: File to write, whole or not at all.
        form: How it is written.
        tolerance: Largest difference of a probability from PyTorch's in float32.

    Raises:
        UserError: As `export_onnx`.
    """
    from alexnet_fast.export.proof import prove_onnx

    model = build_model(net, metadata, form)
    with tempfile.TemporaryDirectory() as directory:
        draft = Path(directory) / path.name
        write_model(model, draft)
        prove_onnx(draft, net, metadata.spec, metadata.crops, form.precision, tolerance=tolerance)
        write_atomically(path, draft.read_bytes())


def build_model(
    net: torch.nn.Module, metadata: GraphMetadata, form: GraphConfig = CPU_CONFIG
) -> onnx.ModelProto:
    """Builds the graph in memory.

    Args:
        net: Maps float32 (N, 3, crop, crop), normalised as the spec says, to logits (N, classes). It is
            exported as it computes in evaluation mode, and not changed.
        metadata: Class names, preprocessing, crops and the rest that the file says about itself.
        form: How it is written. In half precision the normalisation of the images, softmax and averaging
            stay in float32.

    Raises:
        UserError: A layer can be expressed neither by us nor by torch's exporter, or does not fit (it is
            named), the class names do not fit the outputs, or more likeliest classes are asked for than
            there are.
    """
    if form.top > len(metadata.classes):
        raise UserError(
            f"--top-k {form.top} is more than the {len(metadata.classes)} classes of the network",
            f"give at most {len(metadata.classes)}",
            exit_code=2,
        )
    crops = metadata.crops
    graph = GraphWriter(form)
    pixels = write_images(graph, metadata.spec, INPUT)
    logits, features = _write_net(graph, net, metadata, pixels)
    if features is None and FEATURES in form.extras:
        raise UserError(
            f"--features has nothing to give: no matrix product makes the answer of {type(net).__name__}",
            "leave it out",
            exit_code=2,
        )
    values = {LOGITS: logits, FEATURES: features or logits}
    _check_outputs(logits, metadata)
    write_average(graph, logits, crops, OUTPUT)
    for name in form.extras:
        write_extra(graph, values[name], crops, name)
    if form.top:
        write_top(graph, form.top)
    return _finish(graph, metadata, values)


def _write_net(
    graph: GraphWriter, net: torch.nn.Module, metadata: GraphMetadata, pixels: Value
) -> tuple[Value, Value | None]:
    """Appends crops and network, node by node where all of it is known exactly, else by torch's exporter.

    Returns:
        The logits, and what enters the last matrix product; None where there is none.
    """
    try:
        layers = read_layers(net)
    except UnknownLayerError as unknown:
        from alexnet_fast.export.torch_graph import write_traced

        x = write_crops(graph, metadata.spec, pixels, metadata.crops)
        return write_traced(graph, net, unknown, x, versions_of(graph.form)[0])
    plan = plan_for(layers, metadata, graph.form)
    if plan is not None and plan.stages:
        layers, x = list(plan.rest), write_stem(graph, plan, pixels)
    else:
        x = write_crops(graph, metadata.spec, pixels, metadata.crops)
    products = [place for place, layer in enumerate(layers) if isinstance(layer, Linear)]
    if not products:
        return write_net(graph, layers, x), None
    features = write_net(graph, layers[: products[-1]], x)
    return write_net(graph, layers[products[-1] :], features), features


def describe_writer(net: torch.nn.Module, metadata: GraphMetadata) -> str:
    """Says in a sentence what the crops share in model.onnx, or why torch's exporter wrote it."""
    unknown = unknown_layer(net)
    if unknown is not None:
        return f"written by torch's exporter: {unknown.layer} {unknown.why}"
    plan = plan_for(read_layers(net), metadata, CPU_CONFIG)
    return "one crop" if plan is None else plan.describe()


def plan_for(layers: Sequence[Layer], metadata: GraphMetadata, form: GraphConfig) -> StemPlan | None:
    """Returns what the crops share, or None where the form or a single crop leaves nothing to share."""
    if form.stem == "plain" or metadata.crops == "single":
        return None
    return plan_stem(layers, metadata.spec, mirrored=metadata.crops == "ten", eager=form.stem == "eager")


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Checks a model with ONNX's own checker, shapes included, and writes it atomically.

    Raises:
        UserError: The checker refuses it, it is larger than a file of ONNX may be, or it cannot be written.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise UserError(
            f"the graph of {model.graph.name} is not valid ONNX ({str(error).strip().splitlines()[0]})",
            "please report this network",
        ) from error
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


def versions_of(form: GraphConfig) -> tuple[int, int]:
    """Returns the operator set and the file format of a form."""
    return (_BF16_OPSET, _BF16_IR_VERSION) if form.precision == "bf16" else (OPSET, IR_VERSION)


def _output(name: str, *shape: int, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", *shape])


def _finish(graph: GraphWriter, metadata: GraphMetadata, extras: Mapping[str, Value]) -> onnx.ModelProto:
    side, form = metadata.spec.resize, graph.form
    outputs = [_output(OUTPUT, len(metadata.classes))]
    outputs += [_output(name, *extras[name].shape) for name in form.extras]
    if form.top:
        outputs += [
            _output(TOP_CLASSES, form.top, kind=TensorProto.INT64),
            _output(TOP_PROBABILITIES, form.top),
        ]
    opset, ir_version = versions_of(form)
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
