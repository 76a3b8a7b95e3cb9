"""The progress line of a long piece of work; shown only where stderr is a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from click._termui_impl import ProgressBar


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
