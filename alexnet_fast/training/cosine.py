"""Half a cosine from the first learning rate towards nothing (Loshchilov and Hutter 2017, no restarts)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineSchedule:
    """Learning rate by step; it asks nothing of the validation error.

    Args:
        first: Learning rate at the beginning.
        begin: Step at which the fall begins: the end of the warm-up, or 0.
        end: Steps of the run; after them the rate is 0.
    """

    first: float
    begin: int
    end: int

    @property
    def finished(self) -> bool:
        """Whether training should end early: never."""
        return False

    def rate(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        done = (step - self.begin) / max(1, self.end - self.begin)
        return self.first * 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, done))))

    def end_epoch(self, error: float) -> None:
        """Takes the end of an epoch, which changes nothing."""

    @property
    def highest_rate(self) -> float:
        """What `--lr` would have to be below to lower the rate from here on."""
        return self.first

    def change(self, before: Mapping[str, Any]) -> None:
        """Has nothing to do: the rate is a function of step and options."""

    def state_dict(self) -> dict[str, Any]:
        """Returns nothing: the step says it all."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
