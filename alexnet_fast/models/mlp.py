"""Multilayer perceptrons on the pixels of an image: baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from alexnet_fast.models.network import Network
from alexnet_fast.models.spec import MlpSpec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mlp(Network[MlpSpec]):
    """Logistic regression, or a multilayer perceptron; see `Network` and `MlpSpec`."""

    @staticmethod
    def features(spec: MlpSpec, side: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields nothing: the pixels are the features."""
        del spec, side
        yield from ()

    @staticmethod
    def head(spec: MlpSpec, inputs: int, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields fc1, fc2 and so on."""
        for number, width in enumerate(spec.hidden, start=1):
            yield f"fc{number}", nn.Linear(inputs, width)
            yield f"relu{number}", nn.ReLU(inplace=True)
            inputs = width
        yield f"fc{len(spec.hidden) + 1}", nn.Linear(inputs, num_classes)
