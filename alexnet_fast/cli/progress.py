"""The progress line of a long piece of work; shown only where stderr is a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from click._termui_impl import ProgressBar

    from alexnet_fast.training.progress import Progress


def progress_bar(
    length: int, label: str, show: Callable[[Any], str | None] | None = None
) -> ProgressBar[Any]:
    """Returns a bar on stderr, which stays silent where that is no terminal.

    Args:
        length: Number of things to be done.
        label: What is being done.
        show: Renders the current item behind the bar.
    """
    return click.progressbar(
        length=length,
        label=label,
        file=sys.stderr,
        width=24,
        item_show_func=show,
        hidden=not sys.stderr.isatty(),
    )


class EpochLine:
    """One click progress bar an epoch, with loss, accuracy, learning rate and speed beside it."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._epoch = 0
        self._done = 0

    def __call__(self, progress: Progress) -> None:
        """Shows the state of an epoch."""
        if progress.epoch != self._epoch:
            self._begin(progress)
        if self._bar is None:
            return
        self._bar.update(progress.step - self._done, current_item=progress)
        self._done = progress.step
        if progress.step + 1 > progress.steps:
            self.close()

    def close(self) -> None:
        """Ends the line of an epoch that is over or was cut off."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None

    def _begin(self, progress: Progress) -> None:
        """Starts the line of a new epoch."""
        self.close()
        self._epoch, self._done = progress.epoch, 0
        self._bar = progress_bar(progress.steps, f"epoch {progress.epoch:3d}", _figures)
        self._bar.__enter__()


class BuildLine:
    """One bar a phase of an engine's build."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ""

    def __call__(self, phase: str, step: int, steps: int) -> bool:
        """Shows the state of a phase; the build goes on."""
        if phase != self._phase:
            self.close()
            self._phase = phase
            self._bar = progress_bar(steps, phase[:40])
            self._bar.__enter__()
        self._bar.update(step - self._bar.pos)
        return True

    def close(self) -> None:
        """Ends the line."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
            self._phase = ""


def _figures(progress: Progress | None) -> str | None:
    """Returns what stands behind the bar."""
    if progress is None:
        return None
    return (
        f"loss {progress.train.loss:.3f}  top-1 {progress.train.top1:.3f}  lr {progress.lr:g}  "
        f"{progress.images_per_second:.0f} images/s  {progress.waiting:.0%} waiting"
    )
