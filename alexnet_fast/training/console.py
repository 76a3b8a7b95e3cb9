"""The progress of training in a terminal."""

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
    """What the progress line shows; reported after every optimiser step and every other batch.

    Args:
        epoch: Counted from 1.
        epochs: Of the whole run, at most.
        step: Steps done in this epoch.
        steps: Steps an epoch.
        phase: What the epoch does: it trains, measures batch norm, validates.
        done: Batches done in a phase after training.
        after: Batches of each phase after training, in the order in which they run.
        train: Averages of this epoch, as they were last read from the device.
        lr: Learning rate.
        images_per_second: Since the third step after the epoch began or was taken up; till then all warms up.
        waiting: Share of this epoch's time that was spent waiting for data, 0..1.
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


# Each line is a message to the browser: more of them than one can read would only slow it down.
_SECONDS = 0.5


class NotebookLine:
    """One line of text that is written over, for each epoch.

    Args:
        epochs: How many there will be.
        out: Where to.
    """

    def __init__(self, epochs: int, out: IO[str]) -> None:
        self._epochs, self._out = epochs, out
        self._next, self._width = 0.0, 0

    def __call__(self, progress: Progress) -> None:
        """Shows the state of an epoch; what one gave stands in the log that follows it."""
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
        """Clears the line: what an epoch gave stands in the log."""
        if self._width:
            self._write("")
            self._out.write("\r")
            self._out.flush()
            self._width = 0

    def _write(self, text: str) -> None:
        """Writes over what is there."""
        self._out.write("\r" + text.ljust(self._width))
        self._out.flush()
        self._width = len(text)


@contextlib.contextmanager
def training_line(epochs: int) -> Iterator[Callable[[Progress], None]]:
    """Yields what shows the progress of training: in a notebook a line of text, in a terminal a bar."""
    line = NotebookLine(epochs, sys.stderr) if in_notebook() else EpochLine()
    try:
        yield line
    finally:
        line.close()


def in_notebook() -> bool:
    """Tells whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules and not sys.stderr.isatty()


# What a batch that is not learned from costs of one that is: a backward pass is worth two forward ones.
_FORWARD_ALONE = 1 / 3


class EpochLine:
    """One line for the whole run: epoch and what it does, time left of the run, loss, accuracy, speed."""

    def __init__(self) -> None:
        self._bar: FittedBar | None = None

    def __call__(self, progress: Progress) -> None:
        """Shows the state of an epoch."""
        done, of = _work(progress)
        if self._bar is None:
            # What an earlier call of a resumed run did says nothing of the time that is left.
            self._bar = progress_bar(of, _label(progress), _figures, counts=False, done=done)
        self._bar.update(done - self._bar.n, progress, label=_label(progress))

    def close(self) -> None:
        """Takes the line away when the run is over or was cut off."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _work(progress: Progress) -> tuple[float, float]:
    """Returns what is done of the whole run, and the whole, in optimiser steps."""
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
    """Returns what stands in front of the bar."""
    place = f"epoch {progress.epoch}/{progress.epochs}"
    if progress.phase == "training":
        return f"{place} step {progress.step}/{progress.steps}"
    return f"{place} {progress.phase} {progress.done}/{progress.after[progress.phase]}"


def _figures(progress: Progress) -> list[str]:
    """Returns what stands behind the bar, of falling importance."""
    return [
        f"loss {progress.train.loss:.3f}",
        f"top-1 {progress.train.top1:.3f}",
        f"{progress.images_per_second:.0f} images/s",
        f"lr {progress.lr:.3g}",
        f"{progress.data_wait:.0%} waiting",
    ]
