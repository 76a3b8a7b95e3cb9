"""The baseline of `bench infer`: crops, network and average, exported by torch alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import helper

from alexnet_fast.export.export_images import generated_images
from alexnet_fast.export.net_copy import evaluation_copy
from alexnet_fast.export.onnx.model import OPSET, write_model
from alexnet_fast.export.proof import prove_onnx
from alexnet_fast.export.torch_graph import torch_model
from alexnet_fast.pipelines.ten_crop import crop_probabilities
from alexnet_fast.runtime.metadata import INPUT, OUTPUT, PRODUCER

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from alexnet_fast.runtime.metadata import GraphMetadata


def write_plain(net: torch.nn.Module, metadata: GraphMetadata, file: Path) -> Path:
    """Writes torch's own export of a network with its crops and their average around it.

    Args:
        net: Any network.
        metadata: Sizes, crops and class names of the network.
        file: The file to write.

    Returns:
        The file; its output is compared with PyTorch's.

    Raises:
        UserError: torch cannot export the network.
    """
    import torch

    spec, crops = metadata.spec, metadata.crops

    class Averaged(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = evaluation_copy(net)

        def forward(self, images_nhwc: torch.Tensor) -> torch.Tensor:
            return crop_probabilities(self.net, images_nhwc, spec, crops)

    images = torch.from_numpy(generated_images(spec, 2).nhwc_u8)
    model = torch_model(Averaged().eval(), images, INPUT, OUTPUT, OPSET)
    model.producer_name, model.producer_version = PRODUCER, metadata.version
    model.graph.name = f"{metadata.model} {crops}-crop"
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    helper.set_model_props(model, metadata.to_props())
    write_model(model, file)
    prove_onnx(file, net, spec, crops)
    return file
