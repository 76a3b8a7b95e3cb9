"""The progress of training in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alexnet_fast.progress_bar import progress_bar

if TYPE_CHECKING:
    from alexnet_fast.training.progress import Progress


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


def _figures(progress: Progress | None) -> str | None:
    """Returns what stands behind the bar."""
    if progress is None:
        return None
    return (
        f"loss {progress.train.loss:.3f}  top-1 {progress.train.top1:.3f}  lr {progress.lr:g}  "
        f"{progress.images_per_second:.0f} images/s  {progress.waiting:.0%} waiting"
    )
