"""The paper's schedule: lower the learning rate when the validation error stops falling, then stop."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(kw_only=True)
class Plateau:
    """Learning rate by validation error (Krizhevsky et al. 2012, section 5).

    Args:
        lr: Current learning rate.
        patience: Epochs without a lower error before something happens.
        drops_left: Falls still to come; with none left the run is finished.
        factor: What the rate is multiplied by; the paper divides by 10.
        lowest_error: Lowest validation error so far, 0..1.
        waited: Epochs since then.
        finished: Whether training should end.
    """

    lr: float
    patience: int
    drops_left: int
    factor: float = 0.1
    lowest_error: float = float("inf")
    waited: int = 0
    finished: bool = False

    def rate(self, step: int) -> float:
        """Returns the learning rate, which is the same for every step of an epoch."""
        del step
        return self.lr

    def end_epoch(self, error: float) -> None:
        """Takes the validation error of an epoch."""
        if error < self.lowest_error:
            self.lowest_error, self.waited = error, 0
            return
        self.waited += 1
        if self.waited < self.patience:
            return
        if not self.drops_left:
            self.finished = True
            return
        self.lr *= self.factor
        self.drops_left -= 1
        self.waited = 0

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain values."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        for name, value in state.items():
            setattr(self, name, value)
