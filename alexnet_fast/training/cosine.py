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
        steps: Optimiser steps an epoch.
    """

    first: float
    epochs: int
    steps: int

    def rate(self, step: int) -> float:
        """Returns the learning rate of a step, the same for all steps of an epoch."""
        return self.first * 0.5 * (1.0 + math.cos(math.pi * (step // self.steps) / self.epochs))

    @property
    def finished(self) -> bool:
        """Whether training should end early: never."""
        return False

    def end_epoch(self, error: float) -> None:
        """Takes the end of an epoch."""
        del error

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: the rate is a function of the step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up nothing."""
        del state
