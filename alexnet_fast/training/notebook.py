"""Progress of training where stderr is no terminal but somebody watches: in a notebook."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from alexnet_fast.training.progress import Progress

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
    from alexnet_fast.training.console import EpochLine

    line = NotebookLine(epochs, sys.stderr) if in_notebook() else EpochLine()
    try:
        yield line
    finally:
        line.close()


def in_notebook() -> bool:
    """Tells whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules and not sys.stderr.isatty()
