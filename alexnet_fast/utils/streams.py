"""stdout and stderr of a command, even if they are closed, full, unread pipes, or of any encoding."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys

_SECONDS_FOR_A_READER = 10.0


class OutputError(Exception):
    """The result of a command cannot be written to stdout.

    Args:
        reason: The system's reason.
        unread: Whether the reader of a pipe has closed it, as `| head` does.
    """

    def __init__(self, reason: str, *, unread: bool) -> None:
        super().__init__(reason)
        self.unread = unread


def prepare_streams() -> None:
    """Replaces stdout and stderr, so that no character and no disk ends a command in a traceback.

    A character that the encoding lacks is printed as an escape. Errors of stderr are ignored, since nothing
    depends on it; an error of stdout raises `OutputError`, once.

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
    """Returns whether an encoding has every character."""
    return (encoding or "").lower().replace("-", "").startswith("utf")


def _occupy(number: int) -> bool:
    """Opens /dev/null under a free number, which the next opened file would get otherwise.

    Returns:
        Whether the number was in use.
    """
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        return False
    return True


def _text(raw: io.RawIOBase, encoding: str, name: str, *, line_buffering: bool) -> io.TextIOWrapper:
    """Returns a text stream over a byte stream."""
    raw.name = name  # type: ignore[attr-defined]
    # Without a byte buffer: a write that a signal interrupts there would be repeated.
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=line_buffering)  # type: ignore[arg-type, unused-ignore]


class _Descriptor(io.RawIOBase):
    """An open file, by its number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def writable(self) -> bool:
        """Returns True."""
        return True

    def fileno(self) -> int:
        """Returns its number."""
        return self._number

    def isatty(self) -> bool:
        """Returns whether it is a terminal."""
        return os.isatty(self._number)

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Writes the content; waits for a full non-blocking pipe."""
        left = memoryview(content)
        while left:
            try:
                left = left[os.write(self._number, left) :]
            except BlockingIOError:  # noqa: PERF203 - it is retried
                if not select.select([], [self._number], [], _SECONDS_FOR_A_READER)[1]:
                    raise
        return len(content)


class _Lossy(_Descriptor):
    """For messages: errors are ignored."""

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Writes as much as possible."""
        with contextlib.suppress(OSError):
            return super().write(content)
        return len(content)


class _Strict(_Descriptor):
    """For the result: an error is raised once, and not again when Python exits."""

    _failed = False

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Writes the content.

        Raises:
            OutputError: The system refuses it.
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
