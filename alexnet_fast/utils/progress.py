"""The progress line of a long piece of work; shown only if stderr is a terminal.

The line is tqdm's. It never exceeds the terminal's width, whatever that becomes; it moves every second, also
between two updates; it disappears when the work is over. Messages go above it, see `above_bars`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_fast.utils.fitted_bar import FittedBar

# Seconds between two refreshes of a line whose work reports nothing meanwhile.
_TICK = 1.0

# The process whose bars are on the terminal; a forked worker inherits their state but not the terminal.
_owner: int | None = None


def on_terminal() -> bool:
    """Tells whether somebody watches stderr, which may be closed or missing."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False


class ProgressBar:
    """A progress line, shown while its block runs.

    Args:
        length: Number of things to be done; 0 if it is not known yet.
        label: What is being done.
        describe: Renders the current item, as figures of falling importance; as many are shown as fit.
        counts: Whether the things done are counted behind the bar.
        done: Things done before, which do not count in the estimate of the time that is left.
    """

    def __init__(
        self,
        length: float,
        label: str,
        describe: Callable[[Any], Sequence[str]] | None = None,
        *,
        counts: bool = True,
        done: float = 0,
    ) -> None:
        self._length, self._label, self._figures = length, label, describe
        self._counts, self.pos = counts, done
        self._bar: FittedBar | None = None
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    def __enter__(self) -> ProgressBar:
        if on_terminal():
            from alexnet_fast.utils.fitted_bar import FittedBar

            global _owner  # noqa: PLW0603 - there is one terminal
            _owner = os.getpid()
            self._bar = FittedBar(self._label, self._length, self.pos, counts=self._counts)
            self._ticker = threading.Thread(target=self._tick, args=(self._bar,), daemon=True)
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is None or self._ticker is None:
            return
        self._over.set()
        self._ticker.join()
        self._bar.close()
        self._bar = None

    @property
    def length(self) -> float:
        """Number of things to be done; 0 if it is not known."""
        return self._length

    @length.setter
    def length(self, length: float) -> None:
        self._length = length
        if self._bar is not None:
            self._bar.total = length or None
            self._bar.refresh()

    def update(self, steps: float, current_item: Any = None, *, label: str | None = None) -> None:
        """Counts things that were done; the line follows some ten times a second.

        Args:
            steps: How many more.
            current_item: What `describe` renders.
            label: What is being done from now on.
        """
        self.pos += steps
        if self._bar is None:
            return
        if current_item is not None and self._figures is not None:
            self._bar.figures = self._figures(current_item)
        if label is not None:
            self._bar.set_description_str(label, refresh=False)
        self._bar.update(steps)

    def _tick(self, bar: FittedBar) -> None:
        """Lets the clock of the line go on."""
        while not self._over.wait(_TICK):
            bar.refresh()


def progress_bar(
    length: float, label: str, describe: Callable[[Any], Sequence[str]] | None = None, *, counts: bool = True
) -> ProgressBar:
    """Returns a bar on stderr, which stays silent if that is no terminal; see `ProgressBar`."""
    return ProgressBar(length, label, describe, counts=counts)


@contextlib.contextmanager
def above_bars() -> Iterator[None]:
    """Takes the progress lines off the terminal while the block writes to stderr, and puts them back."""
    if _owner != os.getpid():
        yield
        return
    from alexnet_fast.utils.fitted_bar import FittedBar

    with FittedBar.external_write_mode(file=sys.stderr):
        yield
