"""How far a run is."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(kw_only=True)
class Position:
    """A place in the data; with the seed it says which images come next, and how they are cut.

    Args:
        epoch: Epochs done, validation and all.
        epoch_step: Optimiser steps done in the epoch under way; all of them while it is validated.
        step: Optimiser steps since the start of the run.
        seconds: Training time of the epoch under way, in this process and those before it.
        waiting: What of it was spent waiting for data.
    """

    epoch: int = 0
    epoch_step: int = 0
    step: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    @property
    def at_boundary(self) -> bool:
        """Whether no epoch is under way."""
        return self.epoch_step == 0

    @property
    def waited(self) -> float:
        """Share of the epoch's training time that was spent waiting for data, 0..1."""
        return min(1.0, self.waiting / self.seconds) if self.seconds else 0.0

    def next_step(self) -> None:
        """Counts an optimiser step."""
        self.epoch_step += 1
        self.step += 1

    def next_epoch(self) -> None:
        """Counts an epoch."""
        self.epoch += 1
        self.epoch_step, self.seconds, self.waiting = 0, 0.0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Returns the position as plain values."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved position."""
        for name, value in state.items():
            setattr(self, name, value)
