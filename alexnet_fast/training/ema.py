"""An exponential moving average of the weights, which is often better than the weights themselves."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


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
