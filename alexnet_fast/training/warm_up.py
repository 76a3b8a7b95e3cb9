"""A linear rise of the learning rate in front of another schedule (Goyal et al. 2017, section 2.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_fast.training.lr_schedule import LearningRate


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearWarmup:
    """Rises step by step to what the schedule behind it says.

    Args:
        schedule: What follows.
        steps: Steps of the rise; the first has 1 / `steps` of the rate.
    """

    schedule: LearningRate
    steps: int

    @property
    def finished(self) -> bool:
        """Whether training should end."""
        return self.schedule.finished

    def rate(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        return self.schedule.rate(step) * min(1.0, (step + 1) / self.steps)

    def end_epoch(self, error: float) -> None:
        """Takes the validation error of an epoch."""
        self.schedule.end_epoch(error)

    @property
    def highest_rate(self) -> float:
        """What `--lr` would have to be below to lower the rate from here on."""
        return self.schedule.highest_rate

    def change(self, before: Mapping[str, Any]) -> None:
        """Lets changed options hold in the schedule behind it; the rise itself has no state."""
        self.schedule.change(before)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the schedule behind it: the rise itself has none."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""
        self.schedule.load_state_dict(state)
