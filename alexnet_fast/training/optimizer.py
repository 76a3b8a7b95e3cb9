"""The optimiser that the options name."""

from __future__ import annotations

import torch
from torch import nn

from alexnet_fast.training.config import TrainConfig


def make_optimizer(config: TrainConfig, net: nn.Module) -> torch.optim.Optimizer:
    """Makes the optimiser of a network's parameters, fused into one pass over them."""
    return torch.optim.SGD(
        net.parameters(),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=True,
    )
