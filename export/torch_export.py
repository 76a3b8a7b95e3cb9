"""The ten-crop graph around any classifier, through torch's own exporter.

    export_ten_crop(net, AugmentSpec(), ["cat", "dog"], Path("model.onnx"))

`onnx_graph` writes sequential networks node by node, which is faster to run; this takes every module that
`torch.export` can trace. The file is served, verified and built like any other of ours.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from alexnet_fast import __version__
from alexnet_fast.errors import UserError
from alexnet_fast.export.metadata import INPUT, OUTPUT, PRODUCER, GraphMetadata
from alexnet_fast.export.onnx_graph import OPSET, write_model
from alexnet_fast.export.verify import verify_onnx
from alexnet_fast.pipelines.crops import crop_probabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from alexnet_fast.pipelines.crops import Crops
    from alexnet_fast.pipelines.spec import AugmentSpec

_INSTALL = "pip install 'alexnet-fast[torch-export]'"
# Traced and checked on more than one picture: torch.export takes sizes 0 and 1 for constants.
_TRACED = 2


def export_ten_crop(
    module: torch.nn.Module,
    spec: AugmentSpec,
    classes: Sequence[str],
    path: Path | str,
    *,
    crops: Crops = "ten",
    name: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    tolerance: float = 1e-5,
) -> Path:
    """Writes a classifier with the average over its crops inside, and checks the file against PyTorch.

    Args:
        module: Maps float32 (N, 3, crop, crop), normalised as `spec` says, to logits (N, classes). It is
            copied, exported in evaluation mode, and not changed.
        spec: Sizes and normalisation.
        classes: Names of its outputs, in order.
        path: File to write, whole or not at all.
        crops: "ten" averages over the ten crops, "single" takes the centre.
        name: Name of the model; that of its class if None.
        provenance: JSON values that say where the weights come from.
        tolerance: Largest difference of a probability from PyTorch's, on random pictures.

    Returns:
        The path.

    Raises:
        UserError: The module cannot be traced (the line is named) or has an operator without an ONNX form
            (the node is named), its outputs do not fit the class names, the file answers differently, or it
            cannot be written.
    """
    path = Path(path)
    net = copy.deepcopy(module).to("cpu").float().eval()
    metadata = GraphMetadata(
        classes=tuple(classes),
        spec=spec,
        model=name or type(module).__name__,
        crops=crops,
        version=__version__,
        provenance=dict(provenance or {}),
    )
    pictures = np.random.default_rng(0).integers(0, 256, (_TRACED, spec.resize, spec.resize, 3), np.uint8)
    model = _describe(trace(net, spec, pictures, crops, len(classes)), metadata)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        write_model(model, draft)
        check = verify_onnx(draft, net, spec, pictures, crops)
    if check.max_abs_error > tolerance:
        raise UserError(
            f"the exported {metadata.model} is {check.max_abs_error:.2g} from PyTorch's probabilities",
            "nothing was written; does its answer depend on the batch or on chance?",
        )
    write_model(model, path)
    return path


def trace(
    net: torch.nn.Module, spec: AugmentSpec, pictures: np.ndarray[Any, Any], crops: Crops, classes: int
) -> onnx.ModelProto:
    """Returns what torch's exporter makes of a network with the crops and their average around it.

    Args:
        net: In evaluation mode, on the CPU.
        spec: Sizes and normalisation.
        pictures: uint8 (N, resize, resize, 3), two or more.
        crops: Which crops.
        classes: Number of outputs that the network should have.

    Raises:
        UserError: See `export_ten_crop`.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise UserError("torch's ONNX exporter needs onnxscript, which is not installed", _INSTALL)
    import torch

    class Averaged(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, pictures_nhwc: torch.Tensor) -> torch.Tensor:
            return crop_probabilities(self.net, pictures_nhwc, spec, crops)

    inputs = (torch.from_numpy(pictures),)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = _program(Averaged(), inputs, type(net).__name__)
        _check_outputs(program, classes)
        return _convert(program, type(net).__name__)


def _program(module: torch.nn.Module, inputs: tuple[torch.Tensor], name: str) -> Any:
    import torch

    try:
        module(*inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"{name} cannot take the crops ({str(error).splitlines()[0]})", "does the spec's crop fit it?"
        ) from error
    try:
        batch = torch.export.Dim("batch", min=1)
        return torch.export.export(module, inputs, dynamic_shapes=({0: batch},))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        found = re.findall(r"line \d+, in forward\n\s*(.+)", str(error))
        where = f" at `{found[-1].strip()}`" if found else ""
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{name} cannot be traced{where}: {reason}", "write that part without data-dependent branches"
        ) from error


def _check_outputs(program: Any, classes: int) -> None:
    output = program.graph_module.graph.output_node().args[0][0]
    found = tuple(output.meta["val"].shape)
    if len(found) != 2 or int(found[1]) != classes:
        raise UserError(
            f"the network answers with {int(found[-1])} values for {classes} class names",
            "give the class map that it was trained with",
        )


def _convert(program: Any, name: str) -> onnx.ModelProto:
    import torch

    try:
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise _no_node(error, name) from error
    assert exported is not None
    model: onnx.ModelProto = exported.model_proto
    return model


def _no_node(error: Exception, name: str) -> UserError:
    """Finds the node that has no ONNX form in torch's message."""
    text = str(error)
    node = re.search(r"translating node %(\w+)", text)
    operator = re.search(r"target=torch\.ops\.([\w.]+)", text)
    if node is None or operator is None:
        return UserError(f"torch cannot export {name}: {text.strip().splitlines()[-1]}")
    return UserError(
        f"node {node[1]} ({operator[1]}) of {name} has no ONNX form", "replace that layer by another"
    )


def _describe(model: onnx.ModelProto, metadata: GraphMetadata) -> onnx.ModelProto:
    """Adds our description, and takes out the exporter's: it names files and folders of this machine."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.doc_string = ""
    model.graph.name = f"{metadata.model} {metadata.crops}-crop"
    model.producer_name, model.producer_version = PRODUCER, metadata.version
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    helper.set_model_props(model, metadata.to_props())
    return model
