"""The learning rate of each optimiser step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

from alexnet_fast.training.config import TrainConfig


class LrSchedule(Protocol):
    """A learning rate by step; ours instead of torch's, so that `--resume` can change its options."""

    @property
    def finished(self) -> bool:
        """Whether training should end before the last epoch."""

    @property
    def peak_lr(self) -> float:
        """The rate that a lower `--lr` has to be below, from here on."""

    def rate(self, step: int) -> float:
        """Returns the learning rate of an optimiser step, counted from 0 over the whole run."""

    def end_epoch(self, error: float) -> None:
        """Takes the validation error of an epoch, 0..1."""

    def change(self, before: Mapping[str, Any]) -> None:
        """Applies changed options, after a saved state was loaded.

        Args:
            before: The old values of the options that have changed, by name. The schedule was made with the
                new ones.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns what depends on the validation errors so far, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads a saved state."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _FixedSchedule:
    """A function of the step and the options alone; it has no state.

    Args:
        peak_lr: Learning rate at the beginning.
    """

    peak_lr: float

    @property
    def finished(self) -> bool:
        """See `LrSchedule`."""
        return False

    def end_epoch(self, error: float) -> None:
        """See `LrSchedule`."""

    def change(self, before: Mapping[str, Any]) -> None:
        """See `LrSchedule`."""

    def state_dict(self) -> dict[str, Any]:
        """See `LrSchedule`."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `LrSchedule`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CosineSchedule(_FixedSchedule):
    """A cosine from the peak to 0.

    Args:
        warmup_steps: Step at which the cosine begins.
        total_steps: Steps of the run; after them the rate is 0.
    """

    warmup_steps: int
    total_steps: int

    def rate(self, step: int) -> float:
        """See `LrSchedule`."""
        done = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        return self.peak_lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, max(0.0, done))))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSchedule(_FixedSchedule):
    """A reduction every `step_size` steps.

    Args:
        factor: Multiplies the rate at each reduction.
        step_size: Steps between two reductions.
    """

    factor: float
    step_size: int

    def rate(self, step: int) -> float:
        """See `LrSchedule`."""
        return float(self.peak_lr * self.factor ** (step // self.step_size))


@dataclasses.dataclass(kw_only=True)
class ReduceOnPlateau:
    """Reduces the rate when the validation error stops falling (Krizhevsky et al. 2012, section 5).

    Args:
        lr: Current learning rate.
        patience: Epochs without a lower error before a reduction.
        max_reductions: Reductions after which the next plateau ends training.
        factor: Multiplies the rate at each reduction; the paper divides by 10.
        reductions: Reductions so far.
        best_error: Lowest validation error so far, 0..1.
        bad_epochs: Epochs since then.
        finished: Whether training should end.
    """

    lr: float
    patience: int
    max_reductions: int
    factor: float = 0.1
    reductions: int = 0
    best_error: float = float("inf")
    bad_epochs: int = 0
    finished: bool = False

    def __post_init__(self) -> None:
        self._initial_lr = self.lr

    @property
    def peak_lr(self) -> float:
        """See `LrSchedule`."""
        return self.lr

    def rate(self, step: int) -> float:
        """Returns the learning rate, which is the same for every step of an epoch."""
        del step
        return self.lr

    def end_epoch(self, error: float) -> None:
        """See `LrSchedule`."""
        if error < self.best_error:
            self.best_error, self.bad_epochs = error, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs < self.patience:
            return
        if self.reductions >= self.max_reductions:
            self.finished = True
            return
        self.lr *= self.factor
        self.reductions += 1
        self.bad_epochs = 0

    def change(self, before: Mapping[str, Any]) -> None:
        """Applies changed options; a new rate replaces the reduced one, and patience starts anew."""
        if "lr" in before:
            self.lr, self.bad_epochs, self.finished = self._initial_lr, 0, False
        exhausted = self.reductions >= self.max_reductions and self.bad_epochs >= self.patience
        self.finished = self.finished and exhausted

    def state_dict(self) -> dict[str, Any]:
        """See `LrSchedule`."""
        return {name: getattr(self, name) for name in _PLATEAU_STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads a saved state; patience, factor and number of reductions are those of the options."""
        for name in _PLATEAU_STATE:
            setattr(self, name, state[name])


_PLATEAU_STATE = ("lr", "reductions", "best_error", "bad_epochs", "finished")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearWarmup:
    """Multiplies another schedule by a factor that rises to 1.

    Args:
        schedule: The other schedule, which holds the state.
        steps: Steps of the rise; the first has 1 / `steps` of the rate.
    """

    schedule: LrSchedule
    steps: int

    @property
    def finished(self) -> bool:
        """See `LrSchedule`."""
        return self.schedule.finished

    @property
    def peak_lr(self) -> float:
        """See `LrSchedule`."""
        return self.schedule.peak_lr

    def rate(self, step: int) -> float:
        """See `LrSchedule`."""
        return self.schedule.rate(step) * min(1.0, (step + 1) / self.steps)

    def end_epoch(self, error: float) -> None:
        """See `LrSchedule`."""
        self.schedule.end_epoch(error)

    def change(self, before: Mapping[str, Any]) -> None:
        """See `LrSchedule`."""
        self.schedule.change(before)

    def state_dict(self) -> dict[str, Any]:
        """See `LrSchedule`."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `LrSchedule`."""
        self.schedule.load_state_dict(state)


def make_schedule(config: TrainConfig, steps: int) -> LrSchedule:
    """Makes the schedule of `config.lr_schedule`, with its warmup.

    Args:
        config: The options.
        steps: Optimiser steps per epoch.
    """
    warmup_steps = round(config.warmup_epochs * steps)
    schedule = _without_warmup(config, steps, warmup_steps)
    return LinearWarmup(schedule=schedule, steps=warmup_steps) if warmup_steps else schedule


def _without_warmup(config: TrainConfig, steps: int, warmup_steps: int) -> LrSchedule:
    """Makes the schedule that follows the warmup."""
    if config.lr_schedule == "cosine":
        total = min(config.epochs * steps, config.max_steps or config.epochs * steps)
        return CosineSchedule(peak_lr=config.lr, warmup_steps=warmup_steps, total_steps=total)
    if config.lr_schedule == "step":
        step_size = config.lr_step_epochs * steps
        return StepSchedule(peak_lr=config.lr, factor=config.lr_decay_factor, step_size=step_size)
    return ReduceOnPlateau(
        lr=config.lr,
        patience=config.lr_patience,
        max_reductions=config.max_lr_drops,
        factor=config.lr_decay_factor,
    )
