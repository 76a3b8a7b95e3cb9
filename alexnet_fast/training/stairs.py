"""The learning rate falls by a factor every so many steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSchedule:
    """Learning rate by step; it asks nothing of the validation error.

    Args:
        first: Learning rate at the beginning.
        factor: What it is multiplied by at each fall.
        steps: Steps between two falls.
    """

    first: float
    factor: float
    steps: int

    @property
    def finished(self) -> bool:
        """Whether training should end early: never."""
        return False

    def rate(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        return float(self.first * self.factor ** (step // self.steps))

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
