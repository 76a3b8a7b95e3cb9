"""Networks with everything that has a state, small enough for runs of a few seconds."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

from alexnet_fast.models import LocalResponseNorm
from alexnet_fast.models.spec import InputSpec

INPUT = InputSpec(crop=24, resize=28, mean=(127.30, 119.72, 104.91), std=(64.0, 64.0, 64.0))


def _layers(num_classes: int, *middle: nn.Module) -> list[nn.Module]:
    return [
        nn.Conv2d(3, 8, 5, stride=2),
        *middle,
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 16),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(16, num_classes),
    ]


class Net(nn.Sequential):
    """Batch norm, dropout, and noise from Python's and NumPy's generators, as networks of users may have."""

    input = INPUT

    def __init__(self, num_classes: int) -> None:
        super().__init__(*_layers(num_classes, nn.BatchNorm2d(8)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images)
        return logits + random.random() * 0.1 * np.random.standard_normal() if self.training else logits


class Plain(nn.Sequential):
    """Neither batch norm nor dropout: what many processes compute is what one does, to rounding."""

    input = INPUT

    def __init__(self, num_classes: int) -> None:
        layers = _layers(num_classes, LocalResponseNorm(size=5))
        super().__init__(*(layer for layer in layers if not isinstance(layer, nn.Dropout)))
