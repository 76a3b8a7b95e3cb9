"""A network to measure; its time does not depend on its weights."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from alexnet_fast.models import build_model, input_of
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.runtime.metadata import GraphMetadata

if TYPE_CHECKING:
    import torch

    from alexnet_fast.pipelines.ten_crop import Crops


# As create_model's: ImageNet's.
_CLASSES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """What is measured.

    Args:
        net: It returns logits, on the CPU.
        spec: Its sizes and normalisation, with a margin for ten crops.
        model: Its name.
        classes: Number of its outputs.
    """

    net: torch.nn.Module
    spec: AugmentSpec
    model: str
    classes: int

    def metadata(self, crops: Crops) -> GraphMetadata:
        """Returns what an exported file says about itself."""
        return GraphMetadata(
            classes=tuple(str(number) for number in range(self.classes)),
            spec=self.spec,
            model=self.model,
            crops=crops,
            version="bench",
            provenance={},
        )


def fresh_network(model: str) -> Network:
    """Returns a network of the family, or the user's own, with initial weights and room for ten crops.

    Raises:
        UserError: There is none of that name.
    """
    net, given = build_model({"name": model, "num_classes": _CLASSES}).eval(), input_of(model)
    # The small networks take whole images; eight pixels more are a margin for their crops.
    resize = given.resize if given.resize > given.crop else given.crop + 8
    spec = AugmentSpec(resize=resize, crop=given.crop, mean=given.mean, std=given.std)
    return Network(net=net, spec=spec, model=model, classes=_CLASSES)
