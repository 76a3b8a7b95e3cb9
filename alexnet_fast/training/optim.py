"""The optimiser and its parameter groups, LARS, and the moving average of the weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from alexnet_fast.training.config import TrainConfig


class Lars(Optimizer):
    """LARS with momentum (You et al. 2017, "Large Batch Training of Convolutional Networks").

    Ours, because torch has none.

    Args:
        params: Parameters or groups; a group with `trust=False` uses plain momentum SGD, as is customary for
            biases and norm layers.
        lr: The global rate.
        momentum: Momentum of the updates.
        weight_decay: Weight decay, in the gradient and in the trust ratio.
        eta: Trust coefficient; 0.001 in the paper's section 5.
    """

    # GradScaler sets `grad_scale` and `found_inf` instead of waiting for them.
    _step_supports_amp_scaling = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta}
        super().__init__(params, {**defaults, "trust": True})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Takes a step; a closure is not supported."""
        assert closure is None
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._move(group, params)

    def _move(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        """Updates the parameters of a group."""
        updates = self._gradients(params)
        decay = group["weight_decay"]
        if group["trust"]:
            trust = _trust(params, updates, decay, group["eta"])
        updates = list(torch._foreach_add(updates, params, alpha=decay))
        if group["trust"]:
            torch._foreach_mul_(updates, trust)
        torch._foreach_mul_(updates, group["lr"])
        momenta = [self._momentum(p) for p in params]
        torch._foreach_add_(updates, momenta, alpha=group["momentum"])
        overflow = getattr(self, "found_inf", None)
        if overflow is None:
            torch._foreach_copy_(momenta, updates)
            torch._foreach_sub_(params, updates)
            return
        finite = overflow == 0
        for param, momentum, update in zip(params, momenta, updates, strict=True):
            momentum.copy_(torch.where(finite, update, momentum))
            param.copy_(torch.where(finite, param - update, param))

    def _gradients(self, params: list[torch.Tensor]) -> list[torch.Tensor]:
        """Returns the gradients without the loss scale."""
        gradients = [p.grad for p in params if p.grad is not None]
        scale = getattr(self, "grad_scale", None)
        return gradients if scale is None else list(torch._foreach_div(gradients, scale))

    def _momentum(self, param: torch.Tensor) -> torch.Tensor:
        """Returns the momentum of a parameter, initially 0."""
        state = self.state[param]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(param)
        buffer: torch.Tensor = state["momentum_buffer"]
        return buffer


def _trust(
    params: list[torch.Tensor], gradients: list[torch.Tensor], decay: float, eta: float
) -> list[torch.Tensor]:
    """Returns the trust ratio of each tensor; 1 if the weights or the gradient are 0."""
    weights = torch.stack(torch._foreach_norm(params))
    slopes = torch.stack(torch._foreach_norm(gradients))
    ratio = eta * weights / (slopes + decay * weights)
    return list(torch.where((weights > 0) & (slopes > 0), ratio, 1.0).unbind())


class ModelEma:
    """An exponential moving average of the parameters and statistics of a network.

    The decay of update n is `min(decay, (1 + n) / (10 + n))`, as in TensorFlow's ExponentialMovingAverage, so
    that the initial weights fade quickly.

    Args:
        net: The network that is trained.
        decay: Weight of the old average at each update, below 1.

    Attributes:
        net: A network with the averages.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(requires_grad=False)
        self._decay = decay
        self._updates = 0
        self._values, self._averages = _floats(net), _floats(self.net)

    @torch.no_grad()
    def update(self) -> None:
        """Updates the averages after an optimiser step, without waiting for the device."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._averages, [value.detach() for value in self._values], 1.0 - decay)
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Returns the averages and the number of updates."""
        return {"updates": self._updates, "net": self.net.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads a saved state."""
        self._updates = state["updates"]
        self.net.load_state_dict(state["net"])


def _floats(net: nn.Module) -> list[torch.Tensor]:
    """Returns the values that can be averaged, without counters of batches."""
    return [value for value in (*net.parameters(), *net.buffers()) if value.is_floating_point()]


def make_optimizer(config: TrainConfig, net: nn.Module) -> torch.optim.Optimizer:
    """Makes the optimiser of `config.optimizer`; a step is fused and does not wait for the device.

    Args:
        config: The options.
        net: On its device already.
    """
    groups = parameter_groups(net, config.weight_decay, decay_bias=config.bias_weight_decay)
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
    """Makes momentum SGD with a momentum of zeros.

    torch's fused kernel leaves it as uninitialised memory until the first step. If loss scaling skips that
    step after an overflow, the second step uses it.
    """
    sgd = torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov, fused=True
    )
    _zero_missing_momentum(sgd)
    return sgd


def _zero_missing_momentum(sgd: torch.optim.SGD) -> None:
    """Gives parameters without momentum one of zeros, in groups that use momentum."""
    for group in sgd.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            sgd.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


class OptimizerState:
    """The state of an optimiser without its options, which `--resume` may change.

    Args:
        optimizer: The result of `make_optimizer`.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        """Returns torch's state."""
        return self._optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads a saved state, and keeps the current options, which torch would overwrite."""
        groups = self._optimizer.param_groups
        options = [{name: group[name] for name in group if name != "params"} for group in groups]
        self._optimizer.load_state_dict(state)
        for group, current in zip(self._optimizer.param_groups, options, strict=True):
            group.update(current)
        if isinstance(self._optimizer, torch.optim.SGD):
            _zero_missing_momentum(self._optimizer)


def parameter_groups(net: nn.Module, weight_decay: float, *, decay_bias: bool) -> list[dict[str, Any]]:
    """Splits the parameters into weights ("matrices") and the rest, biases and norm layers.

    The rest are the parameters of one dimension.

    Args:
        net: The network.
        weight_decay: Weight decay of the weights.
        decay_bias: Whether to apply it to the rest too.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    weights = [p for p in parameters if p.dim() > 1]
    rest = [p for p in parameters if p.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": weight_decay, "matrices": True},
        {"params": rest, "weight_decay": weight_decay if decay_bias else 0.0, "matrices": False},
    ]
    return [group for group in groups if group["params"]]
