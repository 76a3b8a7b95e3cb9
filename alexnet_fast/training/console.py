"""The progress of training in a terminal or notebook."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Literal

from alexnet_fast.utils.progress import progress_bar

if TYPE_CHECKING:
    from alexnet_fast.training.metrics import Metrics
    from alexnet_fast.utils.fitted_bar import FittedBar

Phase = Literal["training", "measuring", "validating"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """The state of an epoch, reported after every optimiser step and every other batch.

    Args:
        epoch: Counted from 1.
        epochs: Maximum number of epochs of the run.
        step: Finished steps of this epoch.
        steps: Steps per epoch.
        phase: Training, measuring batch norm, or validating.
        done: Finished batches of a phase after training.
        after: Batches of each phase after training, in their order.
        train: Training metrics of this epoch when last read from the device.
        lr: Learning rate.
        images_per_second: Training speed since the third step after the start or resume of the epoch.
        data_wait: Fraction of this epoch's time spent waiting for data, 0..1.
    """

    epoch: int
    epochs: int = 1
    step: int
    steps: int
    phase: Phase = "training"
    done: int = 0
    after: Mapping[Phase, int] = dataclasses.field(default_factory=dict)
    train: Metrics
    lr: float
    images_per_second: float
    data_wait: float


# Seconds between two updates: each is a message to the browser.
_SECONDS = 0.5


class NotebookLine:
    """One line of text per epoch that is overwritten.

    Args:
        epochs: Number of epochs.
        out: The stream.
    """

    def __init__(self, epochs: int, out: IO[str]) -> None:
        self._epochs, self._out = epochs, out
        self._next, self._width = 0.0, 0

    def __call__(self, progress: Progress) -> None:
        """Shows the state of an epoch; the log shows its result."""
        validated = progress.phase == "validating" and progress.done == progress.after["validating"]
        if validated:
            self.close()
        if validated or (time.monotonic() < self._next and progress.step < progress.steps):
            return
        self._next = time.monotonic() + _SECONDS
        place = f"step {progress.step}/{progress.steps}"
        if progress.phase != "training":
            place = f"{progress.phase} {progress.done}/{progress.after[progress.phase]}"
        self._write(
            f"epoch {progress.epoch}/{self._epochs}  {place}  loss"
            f" {progress.train.loss:.3f}  top-1 {progress.train.top1:.3f}  lr {progress.lr:g}"
            f"  {progress.images_per_second:.0f} images/s"
        )

    def close(self) -> None:
        """Clears the line."""
        if self._width:
            self._write("")
            self._out.write("\r")
            self._out.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        """Overwrites the line."""
        self._out.write("\r" + text.ljust(self._width))
        self._out.flush()
        self._width = len(text)


@contextlib.contextmanager
def training_line(epochs: int) -> Iterator[Callable[[Progress], None]]:
    """Yields a progress display: a line of text in a notebook, a bar in a terminal."""
    line = NotebookLine(epochs, sys.stderr) if in_notebook() else EpochLine()
    try:
        yield line
    finally:
        line.close()


def in_notebook() -> bool:
    """Returns whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules and not sys.stderr.isatty()


# Cost of a batch without a backward pass, which costs about two forward passes.
_FORWARD_ALONE = 1 / 3


class EpochLine:
    """A progress bar for the whole run: epoch, phase, remaining time, loss, accuracy, speed."""

    def __init__(self) -> None:
        self._bar: FittedBar | None = None

    def __call__(self, progress: Progress) -> None:
        """Shows the state of an epoch."""
        done, total = _work(progress)
        if self._bar is None:
            # `done` excludes earlier calls of a resumed run from the estimate of the remaining time.
            self._bar = progress_bar(total, _label(progress), _figures, counts=False, done=done)
        self._bar.update(done - self._bar.n, progress, label=_label(progress))

    def close(self) -> None:
        """Removes the bar at the end of the run, or after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _work(progress: Progress) -> tuple[float, float]:
    """Returns the finished and the total work of the run, in optimiser steps."""
    after = sum(progress.after.values()) * _FORWARD_ALONE
    epoch = progress.steps + after
    done = float(progress.step)
    for phase, batches in progress.after.items():
        if phase == progress.phase:
            done += progress.done * _FORWARD_ALONE
            break
        done += batches * _FORWARD_ALONE if progress.phase != "training" else 0
    return (progress.epoch - 1) * epoch + done, progress.epochs * epoch


def _label(progress: Progress) -> str:
    """Returns the text before the bar."""
    place = f"epoch {progress.epoch}/{progress.epochs}"
    if progress.phase == "training":
        return f"{place} step {progress.step}/{progress.steps}"
    return f"{place} {progress.phase} {progress.done}/{progress.after[progress.phase]}"


def _figures(progress: Progress) -> list[str]:
    """Returns the figures after the bar, most important first."""
    return [
        f"loss {progress.train.loss:.3f}",
        f"top-1 {progress.train.top1:.3f}",
        f"{progress.images_per_second:.0f} images/s",
        f"lr {progress.lr:.3g}",
        f"{progress.data_wait:.0%} waiting",
    ]
