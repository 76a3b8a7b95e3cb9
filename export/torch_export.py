"""The ten-crop graph around any classifier.

    export_ten_crop(net, spec, ["cat", "dog"], Path("model.onnx"))

Who writes it, `onnx_graph.build_model` decides: a sequential network of layers that we know exactly is
written node by node, every other one by torch's own exporter. The file is served, verified and built like
any other of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UserError
from alexnet_fast.export.limits import TOLERANCE
from alexnet_fast.export.onnx.model import export_proven
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

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
        crops: "ten" averages over the ten crops, "five" over those that are no mirror images, "single" takes
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
        version=__version__,
        provenance=dict(provenance or {}),
    )
    export_proven(module, metadata, path, tolerance=tolerance)
    return path
