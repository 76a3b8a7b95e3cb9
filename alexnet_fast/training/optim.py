"""The optimiser that the options name, with the parameters in the groups that they ask for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from alexnet_fast.training.config import TrainConfig


class Lars(Optimizer):
    """LARS with momentum.

    Args:
        params: Parameters or groups; a group may set `trust=False` to have plain momentum SGD, as is
            customary for biases and norm layers.
        lr: The global rate.
        momentum: Of the moving average of updates.
        weight_decay: Of the gradient and of the trust ratio.
        eta: Trust coefficient; 0.001 in the paper's section 5.
    """

    # GradScaler hands over scale and overflow as `grad_scale` and `found_inf` instead of waiting for them.
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
        """Moves the parameters of a group."""
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
        kept = overflow == 0
        for param, momentum, update in zip(params, momenta, updates, strict=True):
            momentum.copy_(torch.where(kept, update, momentum))
            param.copy_(torch.where(kept, param - update, param))

    def _gradients(self, params: list[torch.Tensor]) -> list[torch.Tensor]:
        """Returns the gradients, the loss scale taken out."""
        gradients = [p.grad for p in params if p.grad is not None]
        scale = getattr(self, "grad_scale", None)
        return gradients if scale is None else list(torch._foreach_div(gradients, scale))

    def _momentum(self, param: torch.Tensor) -> torch.Tensor:
        """Returns the momentum of a parameter, at first 0."""
        state = self.state[param]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(param)
        buffer: torch.Tensor = state["momentum_buffer"]
        return buffer


def _trust(
    params: list[torch.Tensor], gradients: list[torch.Tensor], decay: float, eta: float
) -> list[torch.Tensor]:
    """Returns the trust ratio of each tensor; 1 where weights or gradient are nothing."""
    sizes = torch.stack(torch._foreach_norm(params))
    slopes = torch.stack(torch._foreach_norm(gradients))
    ratio = eta * sizes / (slopes + decay * sizes)
    return list(torch.where((sizes > 0) & (slopes > 0), ratio, 1.0).unbind())


class ModelEma:
    """A second network whose values follow those of the one that is trained: parameters and statistics.

    The average of the first updates is short, so that it does not hold on to the initial weights: update n
    counts `1 - min(decay, (1 + n) / (10 + n))`, as in TensorFlow's ExponentialMovingAverage.

    Args:
        net: The network that is trained; its values are taken as the beginning.
        decay: Share of the old average that stays at each update, below 1.

    Attributes:
        net: The average, a network like the other.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).requires_grad_(requires_grad=False)
        self._decay = decay
        self._updates = 0
        self._live, self._average = _floats(net), _floats(self.net)

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the network's values after an optimiser step; the device is not waited for."""
        kept = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._average, [value.detach() for value in self._live], 1.0 - kept)
        self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Returns the average and how many updates it has seen."""
        return {"updates": self._updates, "net": self.net.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self._updates = state["updates"]
        self.net.load_state_dict(state["net"])


def _floats(net: nn.Module) -> list[torch.Tensor]:
    """Returns the values that can be averaged; counters of batches cannot."""
    return [value for value in (*net.parameters(), *net.buffers()) if value.is_floating_point()]


def make_optimizer(config: TrainConfig, net: nn.Module) -> torch.optim.Optimizer:
    """Makes the optimiser; all run as one kernel over many tensors, and none asks the device anything.

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
