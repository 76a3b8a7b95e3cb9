"""The progress of training in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alexnet_fast.utils.progress import ProgressBar

if TYPE_CHECKING:
    from alexnet_fast.training.progress import Progress

# What a batch that is not learned from costs of one that is: a backward pass is worth two forward ones.
_FORWARD_ALONE = 1 / 3


class EpochLine:
    """One line for the whole run: epoch and what it does, time left of the run, loss, accuracy, speed."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None

    def __call__(self, progress: Progress) -> None:
        """Shows the state of an epoch."""
        done, of = _work(progress)
        if self._bar is None:
            # What an earlier call of a resumed run did says nothing of the time that is left.
            self._bar = ProgressBar(of, _label(progress), _figures, counts=False, done=done)
            self._bar.__enter__()
        self._bar.update(done - self._bar.pos, progress, label=_label(progress))

    def close(self) -> None:
        """Takes the line away when the run is over or was cut off."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
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
        f"{progress.waiting:.0%} waiting",
    ]
