"""Half a cosine from the first learning rate towards nothing (Loshchilov and Hutter 2017, no restarts)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any


@dataclasses.dataclass(kw_only=True)
class Cosine:
    """Learning rate by epoch; it asks nothing of the validation error.

    Args:
        first: Learning rate of the first epoch.
        epochs: Epochs of the run; after them the rate would be 0.
        epoch: Epochs done.
    """

    first: float
    epochs: int
    epoch: int = 0

    @property
    def lr(self) -> float:
        """Learning rate of the coming epoch."""
        return self.first * 0.5 * (1.0 + math.cos(math.pi * self.epoch / self.epochs))

    @property
    def finished(self) -> bool:
        """Whether training should end early: never."""
        return False

    def step(self, error: float) -> None:
        """Takes the end of an epoch."""
        del error
        self.epoch += 1

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain values."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self.epoch = state["epoch"]
