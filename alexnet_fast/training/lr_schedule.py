"""The learning rate of every optimiser step, as the options name it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

from alexnet_fast.training.config import TrainConfig


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


@dataclasses.dataclass(kw_only=True)
class ReduceOnPlateau:
    """Learning rate by validation error (Krizhevsky et al. 2012, section 5).

    Args:
        lr: Current learning rate.
        patience: Epochs without a lower error before something happens.
        reductions_left: Falls still to come; with none left the run is finished.
        factor: What the rate is multiplied by; the paper divides by 10.
        best_error: Lowest validation error so far, 0..1.
        bad_epochs: Epochs since then.
        finished: Whether training should end.
    """

    lr: float
    patience: int
    reductions_left: int
    factor: float = 0.1
    best_error: float = float("inf")
    bad_epochs: int = 0
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
            self.best_error, self.bad_epochs = error, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs < self.patience:
            return
        if not self.reductions_left:
            self.finished = True
            return
        self.lr *= self.factor
        self.reductions_left -= 1
        self.bad_epochs = 0

    @property
    def highest_rate(self) -> float:
        """What `--lr` would have to be below to lower the rate from here on."""
        return self.lr

    def change(self, before: Mapping[str, Any]) -> None:
        """Lets changed options hold, after a saved state was taken up; see `LearningRate.change`.

        A new rate holds as it is, whatever falls there were before it, and gives the run new patience.
        """
        if "lr" in before:
            self.lr, self.bad_epochs, self.finished = self._options["lr"], 0, False
        if "max_lr_drops" in before:
            self.reductions_left = max(
                0, self._options["reductions_left"] - (before["max_lr_drops"] - self.reductions_left)
            )
        self.finished = self.finished and not self.reductions_left and self.bad_epochs >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain values."""
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a saved state; patience and factor are the options', which may have changed."""
        for name in state.keys() - {"patience", "factor"}:
            setattr(self, name, state[name])


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
    if config.lr_schedule == "cosine":
        end = min(config.epochs * steps, config.max_steps or config.epochs * steps)
        return CosineSchedule(first=config.lr, begin=warm_up, end=end)
    if config.lr_schedule == "step":
        return StepSchedule(
            first=config.lr, factor=config.lr_decay_factor, steps=config.lr_step_epochs * steps
        )
    return ReduceOnPlateau(
        lr=config.lr,
        patience=config.lr_patience,
        reductions_left=config.max_lr_drops,
        factor=config.lr_decay_factor,
    )
