"""Weights by the names of our layers, with what belongs to them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from alexnet_fast.models import InputSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """What a file of weights holds.

    Args:
        path: The file or run folder.
        tensors: By name in the network; kernels are (out, in / groups, height, width) for RGB, matrices are
            (out, in), the inputs by channel, row, column.
        input: The images that they were trained with, where the file or its kind says so.
        classes: Names of the outputs, where the file says so.
        model: The network that computes what they were trained as, where that is known.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    input: InputSpec | None = None
    classes: tuple[str, ...] | None = None
    model: str | None = None
