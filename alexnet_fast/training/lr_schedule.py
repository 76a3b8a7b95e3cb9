"""The learning rate of every optimiser step, as the options name it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.cosine import CosineSchedule
from alexnet_fast.training.plateau import ReduceOnPlateau
from alexnet_fast.training.stairs import StepSchedule
from alexnet_fast.training.warm_up import LinearWarmup


class LearningRate(Protocol):
    """A schedule: a function of the step, and of the validation errors that it was told."""

    @property
    def finished(self) -> bool:
        """Whether training should end, whatever number of epochs was asked for."""

    def rate(self, step: int) -> float:
        """Returns the learning rate of an optimiser step, counted from 0 over the whole run."""

    def end_epoch(self, error: float) -> None:
        """Takes the validation error of an epoch, 0..1."""

    @property
    def highest_rate(self) -> float:
        """What `--lr` would have to be below to lower the rate from here on."""

    def change(self, before: Mapping[str, Any]) -> None:
        """Lets changed options hold, after a saved state was taken up.

        Args:
            before: The old values of the options that have changed, by name; the new ones are those that
                the schedule was made with.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns what it learned from validation, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state."""


def make_schedule(config: TrainConfig, steps: int) -> LearningRate:
    """Makes the schedule that the options name.

    Args:
        config: The options.
        steps: Optimiser steps an epoch.
    """
    warm_up = round(config.warmup_epochs * steps)
    schedule = _after_warm_up(config, steps, warm_up)
    return LinearWarmup(schedule=schedule, steps=warm_up) if warm_up else schedule


def _after_warm_up(config: TrainConfig, steps: int, warm_up: int) -> LearningRate:
    """Makes the schedule without its beginning."""
    if config.schedule == "cosine":
        end = min(config.epochs * steps, config.max_steps or config.epochs * steps)
        return CosineSchedule(first=config.lr, begin=warm_up, end=end)
    if config.schedule == "step":
        return StepSchedule(first=config.lr, factor=config.factor, steps=config.step_epochs * steps)
    return ReduceOnPlateau(
        lr=config.lr, patience=config.patience, reductions_left=config.drops, factor=config.factor
    )
