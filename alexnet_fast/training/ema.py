"""An exponential moving average of the weights, which is often better than the weights themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """Averages every floating-point value of a network: parameters and the statistics of batch norm.

    The average of the first updates is short, so that it does not hold on to the initial weights: update n
    counts `1 - min(decay, (1 + n) / (10 + n))`, as in TensorFlow's ExponentialMovingAverage.

    Args:
        net: The network; its values are taken as the beginning.
        decay: Share of the old average that stays at each update, below 1.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self._decay = decay
        self._updates = 0
        self._names, self._live = zip(*_floats(net), strict=True)
        self._average = [value.detach().clone() for value in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the network's values after an optimiser step; the device is not waited for."""
        kept = min(self._decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._average, self._own(), 1.0 - kept)
        self._updates += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the average into the network; afterwards it has its own values again, bit for bit.

        What changes meanwhile stays in the average: the statistics of batch norm are measured for it there.
        """
        own = [value.clone() for value in self._own()]
        torch._foreach_copy_(self._own(), self._average)
        try:
            yield
            torch._foreach_copy_(self._average, self._own())
        finally:
            torch._foreach_copy_(self._own(), own)

    def values(self) -> dict[str, torch.Tensor]:
        """Returns the average by name."""
        return dict(zip(self._names, self._average, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Returns the average and how many updates it has seen."""
        return {"updates": self._updates, "average": self.values()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self._updates = state["updates"]
        for name, value in zip(self._names, self._average, strict=True):
            value.copy_(state["average"][name])

    def _own(self) -> list[torch.Tensor]:
        """Returns the network's values, outside of autograd."""
        return [value.detach() for value in self._live]


def _floats(net: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Returns the values that can be averaged, by name."""
    named = [*net.named_parameters(), *net.named_buffers()]
    return [(name, value) for name, value in named if value.is_floating_point()]
