"""LARS: momentum SGD with a learning rate of its own for each layer (You, Gitman and Ginsburg 2017).

Large batches need large rates, at which a layer whose gradient is large beside its weights diverges. Each
tensor w with gradient g therefore moves by the rate times

    trust = eta * |w| / (|g| + weight_decay * |w|)

Everything stays on the device: a norm is never read, and where loss scaling finds an overflow the step is
undone by `torch.where` instead of a question to the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer


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
