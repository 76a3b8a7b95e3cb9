"""The optimiser that the options name, with the parameters in the groups that they ask for."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.lars import Lars


def make_optimizer(config: TrainConfig, net: nn.Module) -> torch.optim.Optimizer:
    """Makes the optimiser; all run as one kernel over many tensors, and none asks the device anything.

    Args:
        config: The options.
        net: On its device already.
    """
    groups = parameter_groups(net, config.weight_decay, decay_bias=config.decay_bias)
    if config.optimizer == "lars":
        for group in groups:
            group["trust"] = group.pop("matrices")
        return Lars(groups, lr=config.lr, momentum=config.momentum)
    for group in groups:
        del group["matrices"]
    if config.optimizer == "sgd":
        return _sgd(config, groups)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    # The betas of Kingma and Ba 2015; the first is what SGD calls momentum.
    return kind(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)


def _sgd(config: TrainConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Makes momentum SGD.

    Its momentum begins as zeros, which is what it is. torch's fused kernel leaves it as uninitialised memory
    until the first step, and where loss scaling skips that one for an overflow, uses it in the second.
    """
    sgd = torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True
    )
    _begin_momentum(sgd)
    return sgd


def _begin_momentum(sgd: torch.optim.SGD) -> None:
    """Gives parameters that have no momentum yet one of zero, where there is to be one."""
    for group in sgd.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            sgd.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


class OptimizerState:
    """The state of an optimiser, without its options: those are the run's, which `--resume` may change.

    Args:
        optimizer: As `make_optimizer` returned it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        """Returns what torch keeps."""
        return self._optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state; torch would take up the saved options too."""
        groups = self._optimizer.param_groups
        options = [{name: group[name] for name in group if name != "params"} for group in groups]
        self._optimizer.load_state_dict(state)
        for group, own in zip(self._optimizer.param_groups, options, strict=True):
            group.update(own)
        if isinstance(self._optimizer, torch.optim.SGD):
            _begin_momentum(self._optimizer)


def parameter_groups(net: nn.Module, weight_decay: float, *, decay_bias: bool) -> list[dict[str, Any]]:
    """Splits the parameters into weights ("matrices") and the rest: biases and norm layers.

    A parameter of a norm layer or a bias has one dimension, whatever its layer is called.

    Args:
        net: The network.
        weight_decay: Of the weights.
        decay_bias: Whether the rest has it too.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    weights = [p for p in parameters if p.dim() > 1]
    rest = [p for p in parameters if p.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": weight_decay, "matrices": True},
        {"params": rest, "weight_decay": weight_decay if decay_bias else 0.0, "matrices": False},
    ]
    return [group for group in groups if group["params"]]
