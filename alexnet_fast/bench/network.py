"""A network to measure; its speed does not depend on its weights."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

from alexnet_fast.models import LocalResponseNorm, build_model, input_of
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.runtime.metadata import GraphMetadata

if TYPE_CHECKING:
    import torch

    from alexnet_fast.pipelines.ten_crop import Crops


# As create_model's: ImageNet's.
_CLASSES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class BenchModel:
    """A network and its input.

    Args:
        net: Returns logits; on the CPU.
        spec: Input sizes and normalisation, with a margin for ten crops.
        model: Name of the network.
        classes: Number of its outputs.
    """

    net: torch.nn.Module
    spec: AugmentSpec
    model: str
    classes: int

    def metadata(self, crops: Crops) -> GraphMetadata:
        """Returns the metadata of an exported file."""
        return GraphMetadata(
            classes=tuple(str(number) for number in range(self.classes)),
            spec=self.spec,
            model=self.model,
            crops=crops,
            version="bench",
            provenance={},
        )


def fresh_network(model: str) -> BenchModel:
    """Returns a network of the family, or the user's own, with initial weights and room for ten crops.

    Raises:
        UserError: There is no network of that name.
    """
    net, sizes = build_model({"name": model, "num_classes": _CLASSES}).eval(), input_of(model)
    # The small networks take whole images; eight pixels more are a margin for their crops.
    resize = sizes.resize if sizes.resize > sizes.crop else sizes.crop + 8
    spec = AugmentSpec(resize=resize, crop=sizes.crop, mean=sizes.mean, std=sizes.std)
    return BenchModel(net=net, spec=spec, model=model, classes=_CLASSES)


def with_torch_lrn(net: torch.nn.Module) -> torch.nn.Module:
    """Returns a copy of a network with PyTorch's own local response normalisation."""
    import torch

    copied = copy.deepcopy(net)
    for module in list(copied.modules()):
        for name, child in module.named_children():
            if isinstance(child, LocalResponseNorm):
                theirs = torch.nn.LocalResponseNorm(child.size, child.alpha, child.beta, child.k)
                setattr(module, name, theirs)
    return copied
