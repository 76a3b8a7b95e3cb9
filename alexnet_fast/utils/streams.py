"""stdout and stderr of a command, whatever they are: closed, full, unread pipes, of any encoding."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys

_SECONDS_FOR_A_READER = 10.0


class OutputError(Exception):
    """The answer of a command cannot be written to stdout.

    Args:
        reason: The system's.
        unread: Whether the reader of a pipe has gone, as `| head` does.
    """

    def __init__(self, reason: str, *, unread: bool) -> None:
        super().__init__(reason)
        self.unread = unread


def prepare_streams() -> None:
    """Makes stdout and stderr such that no character and no disk ends a command in a traceback.

    A character that the encoding lacks is printed as its escape. What cannot be written to stderr is lost,
    for nothing depends on it; what cannot be written to stdout raises `OutputError`, once.

    Raises:
        OutputError: stdout is closed.
    """
    open_before = [_occupy(number) for number in (0, 1, 2)]
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr = _text(_Lossy(2), encoding, "<stderr>", line_buffering=True)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    terminal = os.isatty(1)
    sys.stdout = _text(_Strict(1), encoding, "<stdout>", line_buffering=terminal)
    if not open_before[1]:
        raise OutputError("it is closed", unread=False)


def is_unicode(encoding: str | None) -> bool:
    """Tells whether an encoding has every character."""
    return (encoding or "").lower().replace("-", "").startswith("utf")


def _occupy(number: int) -> bool:
    """Puts /dev/null where nothing is open: the next file would get that number, and what is meant for us.

    Returns:
        Whether something was open.
    """
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        return False
    return True


def _text(raw: io.RawIOBase, encoding: str, name: str, *, line_buffering: bool) -> io.TextIOWrapper:
    """Returns a stream of text over what writes bytes."""
    raw.name = name  # type: ignore[attr-defined]
    # No buffer of bytes: what a signal cuts off in one is written once more.
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=line_buffering)  # type: ignore[arg-type, unused-ignore]


class _Descriptor(io.RawIOBase):
    """A file that is open already, under its number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def fileno(self) -> int:
        """Its number."""
        return self._number

    def isatty(self) -> bool:
        """Tells whether it is a terminal."""
        return os.isatty(self._number)

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Writes the content; a pipe that is full and must not block is waited for."""
        left = memoryview(content)
        while left:
            try:
                left = left[os.write(self._number, left) :]
            except BlockingIOError:  # noqa: PERF203 - it is tried again
                if not select.select([], [self._number], [], _SECONDS_FOR_A_READER)[1]:
                    raise
        return len(content)


class _Lossy(_Descriptor):
    """For people: what cannot be written is lost."""

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Writes what can be written."""
        with contextlib.suppress(OSError):
            return super().write(content)
        return len(content)


class _Strict(_Descriptor):
    """For the answer: an error is told once, and not again when Python ends."""

    _failed = False

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Writes, or raises.

        Raises:
            OutputError: It cannot be written.
        """
        if self._failed:
            return len(content)
        try:
            return super().write(content)
        except OSError as error:
            self._failed = True
            raise OutputError(
                (error.strerror or str(error)).lower(), unread=error.errno == errno.EPIPE
            ) from error
