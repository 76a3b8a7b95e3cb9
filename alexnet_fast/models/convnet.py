"""Small convolutional networks for small images: blocks of one convolution, then global average pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from alexnet_fast.models.network import Network
from alexnet_fast.models.spec import ConvNetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator


class ConvNet(Network[ConvNetSpec]):
    """Convolutions of 3 x 3 with batch norm and global average pooling; see `Network` and `ConvNetSpec`."""

    @staticmethod
    def features(spec: ConvNetSpec, side: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields conv1 to the global average pool, which leaves one number per map."""
        del side
        channels = 3
        for block, width in enumerate(spec.blocks, start=1):
            yield f"conv{block}", nn.Conv2d(channels, width, 3, padding=1)
            yield f"bn{block}", nn.BatchNorm2d(width)
            yield f"relu{block}", nn.ReLU(inplace=True)
            if block < len(spec.blocks):
                yield f"pool{block}", nn.MaxPool2d(2, 2)
            channels = width
        yield "average", nn.AdaptiveAvgPool2d(1)

    @staticmethod
    def head(spec: ConvNetSpec, inputs: int, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields dropout and the fully-connected layer."""
        yield "drop", nn.Dropout(spec.dropout or 0.0)
        yield "fc", nn.Linear(inputs, num_classes)
