"""One ONNX file of a classifier in Python, without a manifest.

    export_ten_crop(net, spec, ["cat", "dog"], Path("model.onnx"))
    export_onnx(net, spec, classes, Path("model.onnx"), model_name="alexnet", provenance={"epoch": 90})

`onnx.model.lower` decides who writes it: a sequential network of layers that we know exactly is written node
by node, every other one by torch's own exporter. The file is served, verified and built like any other of
ours.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UserError
from alexnet_fast.export.config import CPU_CONFIG
from alexnet_fast.export.limits import TOLERANCE
from alexnet_fast.export.onnx.model import build_model, write_model
from alexnet_fast.export.proof import prove_onnx
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.utils.atomic import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

    from alexnet_fast.export.config import GraphConfig
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops


def export_ten_crop(
    module: torch.nn.Module,
    spec: AugmentSpec,
    classes: Sequence[str],
    path: Path | str,
    *,
    crops: Crops = "ten",
    name: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    tolerance: float = TOLERANCE,
) -> Path:
    """Writes a classifier with the average over its crops inside, and checks the file against PyTorch.

    Args:
        module: Maps float32 (N, 3, crop, crop), normalised as `spec` says, to logits (N, classes). It is
            copied, exported in evaluation mode, and not changed.
        spec: Sizes and normalisation that the module was trained with; mean and std have to be given.
        classes: Names of its outputs, in order.
        path: File to write, whole or not at all.
        crops: "ten" averages over the ten crops, "five" over the unmirrored ones, "single" takes
            the centre.
        name: Name of the model; that of its class if None.
        provenance: JSON values that say where the weights come from.
        tolerance: Largest difference of a probability from PyTorch's, on generated images.

    Returns:
        The path.

    Raises:
        UserError: The spec names no mean and std, the module cannot be traced or has an operator without an
            ONNX form (the layer is named), its outputs do not fit the class names, the file answers
            differently, or it cannot be written.
    """
    if not spec.says_normalisation:
        raise UserError(
            "the spec of export_ten_crop does not say with which mean and std the network was trained",
            "give AugmentSpec(mean=..., std=...) on the 0..255 scale, or TORCHVISION_SPEC",
        )
    path = Path(path)
    metadata = GraphMetadata(
        classes=tuple(classes),
        spec=spec,
        model=name or type(module).__name__,
        crops=crops,
        provenance=provenance or {},
    )
    _export(module, metadata, path, tolerance=tolerance)
    return path


def export_onnx(
    net: torch.nn.Module,
    spec: AugmentSpec,
    classes: Sequence[str],
    path: Path,
    *,
    crops: Crops = "ten",
    config: GraphConfig = CPU_CONFIG,
    model_name: str,
    provenance: Mapping[str, Any],
) -> None:
    """Writes a network as an ONNX file, once that answers generated images as PyTorch does.

    Args:
        net: As in `build_model`.
        spec: Sizes and normalisation that it was trained with.
        classes: Names of its outputs, in order.
        path: File to write, whole or not at all.
        crops: "ten" averages over the ten crops, "five" over the unmirrored ones, "single" takes the centre.
        config: How the graph is written.
        model_name: Name of the architecture.
        provenance: JSON values that say where the weights come from. No time of day, which would change the
            bytes.

    Raises:
        UserError: As `build_model`; or the answers of the file differ from PyTorch's, or it cannot be
            written.
    """
    metadata = GraphMetadata(
        classes=tuple(classes), spec=spec, model=model_name, crops=crops, provenance=provenance
    )
    _export(net, metadata, path, config)


def _export(
    net: torch.nn.Module,
    metadata: GraphMetadata,
    path: Path,
    config: GraphConfig = CPU_CONFIG,
    tolerance: float = TOLERANCE,
) -> None:
    """Does what `export_onnx` does, within a tolerance of each probability in float32."""
    model = build_model(net, metadata, config)
    with tempfile.TemporaryDirectory() as directory:
        draft = Path(directory) / path.name
        write_model(model, draft)
        prove_onnx(draft, net, metadata.spec, metadata.crops, config.precision, tolerance=tolerance)
        write_atomically(path, draft.read_bytes())
