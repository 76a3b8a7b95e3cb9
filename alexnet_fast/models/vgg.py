"""VGG: blocks of 3x3 convolutions, under the names that its authors' Caffe files have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from alexnet_fast.models.network import Network
from alexnet_fast.models.spec import VggSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Vgg(Network[VggSpec]):
    """A network of Simonyan and Zisserman's kind; see `Network` and `VggSpec`."""

    @staticmethod
    def features(spec: VggSpec, side: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields conv1_1 to the last pool."""
        del side
        channels = 3
        for block, widths in enumerate(spec.blocks, start=1):
            for place, width in enumerate(widths, start=1):
                yield f"conv{block}_{place}", nn.Conv2d(channels, width, 3, padding=1)
                yield f"relu{block}_{place}", nn.ReLU(inplace=True)
                channels = width
            yield f"pool{block}", nn.MaxPool2d(2, 2)

    @staticmethod
    def head(spec: VggSpec, inputs: int, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields fc6 to fc8."""
        for number in (6, 7):
            yield f"fc{number}", nn.Linear(inputs, spec.hidden)
            yield f"relu{number}", nn.ReLU(inplace=True)
            yield f"drop{number}", nn.Dropout(spec.dropout or 0.0)
            inputs = spec.hidden
        yield "fc8", nn.Linear(inputs, num_classes)

    @staticmethod
    def torchvision_names(spec: VggSpec) -> Mapping[str, str]:
        """See `Network`: `features` counts convolutions, ReLUs and pools, `classifier` the layers after."""
        names = {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}
        for index, (name, layer) in enumerate(Vgg.features(spec, 0)):
            if isinstance(layer, nn.Conv2d):
                names[f"features.{index}"] = name
        return names
