"""The learning rate schedule that the options name."""

from __future__ import annotations

from typing import Any, Protocol

from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.cosine import Cosine
from alexnet_fast.training.plateau import Plateau


class LearningRate(Protocol):
    """What the trainer asks of a schedule."""

    @property
    def finished(self) -> bool:
        """Whether training should end before its epochs are over."""

    def rate(self, step: int) -> float:
        """Returns the learning rate of an optimiser step, counted from 0 over the whole run."""

    def end_epoch(self, error: float) -> None:
        """Takes the validation error of an epoch, 0..1."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain values."""

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Takes up a saved state."""


def make_schedule(config: TrainConfig, steps: int) -> LearningRate:
    """Makes the schedule.

    Args:
        config: The options.
        steps: Optimiser steps an epoch.
    """
    if config.schedule == "cosine":
        return Cosine(first=config.lr, epochs=config.epochs, steps=steps)
    return Plateau(lr=config.lr, patience=config.patience, drops_left=config.drops)
