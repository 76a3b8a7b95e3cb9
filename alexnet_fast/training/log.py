"""Messages of a run, to the console and to the run's log file."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.progress import above_bars, on_terminal
from alexnet_fast.utils.special_files import check_plain

log = logging.getLogger("alexnet_fast")


@contextlib.contextmanager
def logging_to_console(rank: int = 0) -> Iterator[None]:
    """Logs to stderr; ranks above 0 log only warnings, with their rank."""
    console = _Console(sys.stderr)
    if rank:
        console.setLevel(logging.WARNING)
        # Clears the progress line of rank 0, which is drawn again after the message.
        clear = "\r\x1b[K" if on_terminal() else ""
        console.setFormatter(logging.Formatter(f"{clear}process {rank}: %(message)s"))
    with _attached(console):
        yield


@contextlib.contextmanager
def logging_to_file(path: Path | None) -> Iterator[None]:
    """Logs to a file, with the time; None for no file."""
    if path is None:
        yield
        return
    try:
        check_plain(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {system_reason(error)}", "give another --run") from error
    file = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    with _attached(file):
        yield


class _Console(logging.StreamHandler[TextIO]):
    """Stderr; a message hides the progress line meanwhile."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a message."""
        with above_bars():
            super().emit(record)


class _LogFile(logging.FileHandler):
    """A file whose errors end the run; logging itself would print a traceback and drop the message."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Raises the error of a write."""
        del record
        raise  # noqa: PLE0704 - logging calls this while it handles the error


@contextlib.contextmanager
def _attached(handler: logging.Handler) -> Iterator[None]:
    """Adds a handler while the block runs."""
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
