"""The paper's schedule: lower the learning rate when the validation error stops falling, then stop."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(kw_only=True)
class ReduceOnPlateau:
    """Learning rate by validation error (Krizhevsky et al. 2012, section 5).

    Args:
        lr: Current learning rate.
        patience: Epochs without a lower error before something happens.
        reductions_left: Falls still to come; with none left the run is finished.
        factor: What the rate is multiplied by; the paper divides by 10.
        best_error: Lowest validation error so far, 0..1.
        waited: Epochs since then.
        finished: Whether training should end.
    """

    lr: float
    patience: int
    reductions_left: int
    factor: float = 0.1
    best_error: float = float("inf")
    waited: int = 0
    finished: bool = False

    def __post_init__(self) -> None:
        self._options = {"lr": self.lr, "reductions_left": self.reductions_left}

    def rate(self, step: int) -> float:
        """Returns the learning rate, which is the same for every step of an epoch."""
        del step
        return self.lr

    def end_epoch(self, error: float) -> None:
        """Takes the validation error of an epoch."""
        if error < self.best_error:
            self.best_error, self.waited = error, 0
            return
        self.waited += 1
        if self.waited < self.patience:
            return
        if not self.reductions_left:
            self.finished = True
            return
        self.lr *= self.factor
        self.reductions_left -= 1
        self.waited = 0

    @property
    def highest_rate(self) -> float:
        """What `--lr` would have to be below to lower the rate from here on."""
        return self.lr

    def change(self, before: Mapping[str, Any]) -> None:
        """Lets changed options hold, after a saved state was taken up; see `LearningRate.change`.

        A new rate holds as it is, whatever falls there were before it, and gives the run new patience.
        """
        if "lr" in before:
            self.lr, self.waited, self.finished = self._options["lr"], 0, False
        if "drops" in before:
            self.reductions_left = max(
                0, self._options["reductions_left"] - (before["drops"] - self.reductions_left)
            )
        self.finished = self.finished and not self.reductions_left and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain values."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state; patience and factor are the options', which may have changed."""
        for name in state.keys() - {"patience", "factor"}:
            setattr(self, name, state[name])
