"""The progress line of a long piece of work; shown only if stderr is a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alexnet_fast.utils.fitted_bar import FittedBar

# The process whose bars are on the terminal; a forked worker inherits their state but not the terminal.
_owner: int | None = None


def on_terminal() -> bool:
    """Returns whether stderr is a terminal; it may be closed or missing."""
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except ValueError:  # closed
        return False


def progress_bar(
    length: float,
    label: str,
    describe: Callable[[Any], Sequence[str]] | None = None,
    *,
    counts: bool = True,
    done: float = 0,
) -> FittedBar:
    """Returns a progress line on stderr, which shows nothing if that is no terminal.

    Args:
        length: Number of items; 0 if it is not known yet.
        label: Name of the work.
        describe: Renders the current item as figures, the most important first; those that fit are shown.
        counts: Whether the line shows the number of items.
        done: Items done earlier, which do not count in the estimate of the remaining time.
    """
    # Imported here: the command line must answer --help without tqdm.
    from alexnet_fast.utils.fitted_bar import FittedBar

    global _owner  # noqa: PLW0603 - there is one terminal
    shown = on_terminal()
    if shown:
        _owner = os.getpid()
    return FittedBar(length, label, describe, counts=counts, done=done, disable=not shown)


@contextlib.contextmanager
def above_bars() -> Iterator[None]:
    """Clears the progress lines while the block writes to stderr, and draws them again afterwards."""
    if _owner != os.getpid():
        yield
        return
    from alexnet_fast.utils.fitted_bar import FittedBar

    with FittedBar.external_write_mode(file=sys.stderr):
        yield
