"""Ctrl-C and the other signals that end a command.

Inside `interruptible` the first signal raises `Interrupted`, so that running work can clean up. A second one,
or a timeout after the first, ends the process at once: no swallowed exception and no library that computes
for minutes can keep it alive. Its worker processes end too, and the files of `gone_at_the_end` are removed.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

# A closed terminal sends SIGHUP.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Programs such as `timeout` and npm forward a signal that the whole group has received already.
_SECONDS_OF_AN_ECHO = 0.3
# A signal just before the main thread begins to wait, or to another thread, does not end the wait. A signal
# to the thread itself does: this one, which no other program sends and which is ignored by default.
_WAKE = signal.SIGURG
_SECONDS_UNTIL_AWAKE = 0.2
# Seconds for running work to end, and for files that are being written, such as a checkpoint.
_SECONDS_TO_END = 10.0
_SECONDS_TO_WRITE = 120.0


class Interrupted(KeyboardInterrupt):
    """A signal ends the command.

    Args:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _State:
    """The signals that this process has received."""

    def __init__(self) -> None:
        self.number: int | None = None
        # An `Interrupted` that was lost in a destructor or a callback is raised again.
        self.lost = self.again = False
        self.over = False
        self.unfinished: set[Path] = set()


_STATE = _State()
_MAIN = threading.main_thread().ident or 0


def received() -> int | None:
    """Returns the number of the signal that ends the command; None if there is none."""
    return _STATE.number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises `Interrupted` in the block at the first signal; afterwards signals end the process silently.

    For the main thread of our own programs, once. A signal that was ignored at the start (as by nohup) stays
    ignored.

    Raises:
        Interrupted: A signal came, even if it was turned into another exception on its way.
    """
    before = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = _unless_interrupted(before[0]), _unless_interrupted(before[1])
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), name="signals", daemon=True).start()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    signal.signal(_WAKE, _wake)
    try:
        yield
    except BaseException as error:
        if _STATE.number is not None and not isinstance(error, Interrupted):
            raise Interrupted(_STATE.number) from error
        raise
    finally:
        _STATE.over = True
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        signal.signal(_WAKE, signal.SIG_IGN)
        atexit.register(_end_by_signal)
    if _STATE.number is not None:
        raise Interrupted(_STATE.number)


@contextlib.contextmanager
def gone_at_the_end(path: Path) -> Iterator[None]:
    """Marks a file or folder that the block removes or renames, to be removed if the process ends at once."""
    _STATE.unfinished.add(path)
    try:
        yield
    finally:
        _STATE.unfinished.discard(path)


@contextlib.contextmanager
def starting_processes(*blocked: signal.Signals) -> Iterator[None]:
    """Blocks Ctrl-C, which a terminal sends to all, in processes that the block starts.

    They inherit the mask of this thread, so not even the start of their interpreter can be interrupted; they
    may unblock signals themselves. In the main thread a signal waits until the block is over: a process that
    is half started would print a traceback of its own.

    Args:
        blocked: More signals to block.
    """
    # It unblocks the signals when it starts its process, unless that runs already.
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    with _held():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *blocked))
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


_HELD = (*SIGNALS, signal.SIGUSR1)


@contextlib.contextmanager
def _held() -> Iterator[None]:
    """Holds back signals with a handler in Python until the block is over."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Any] = {
        number: handler for number in _HELD if callable(handler := signal.getsignal(number))
    }
    noted: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        noted.append(number)

    _NOTING.append(note)
    for number in handlers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _NOTING.remove(note)
        for number in dict.fromkeys(noted):
            handlers[number](number, None)


# Handlers that replace others temporarily.
_NOTING: list[Any] = []


def _handle(number: int, frame: FrameType | None) -> None:
    """Raises at the first signal; the watching thread handles later ones."""
    if _STATE.number is not None:
        return
    _STATE.number = number
    # Modules in C turn an exception during their import into an ImportError, which looks like a missing
    # library.
    if _importing(frame):
        _end_now(number)
    raise Interrupted(number)


def _wake(_: int, frame: FrameType | None) -> None:
    """Raises a lost exception again, but not in the hook that noted the loss."""
    if _STATE.again and not (frame is not None and frame.f_code.co_name == "silent"):
        _STATE.again = False
        raise Interrupted(_STATE.number or signal.SIGINT)


def _importing(frame: FrameType | None) -> bool:
    """Returns whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _watch(reader: int) -> None:
    """Enforces signals wherever the main thread is; runs in a thread."""
    first: float | None = None
    wake = 0.0
    while True:
        ready, _, _ = select.select([reader], [], [], None if first is None else 0.05)
        now = time.monotonic()
        for number in os.read(reader, 64) if ready else b"":
            if not _ours(number):
                continue
            if first is None:
                first, wake = now, now + _SECONDS_UNTIL_AWAKE
            elif now - first > _SECONDS_OF_AN_ECHO and not _STATE.over:
                _end_now(number)
        if first is None:
            continue
        if _STATE.lost:
            _STATE.lost, _STATE.again, wake = False, True, now
        if (_STATE.again or _STATE.number is None) and now >= wake:
            wake = now + 1.0
            signal.pthread_kill(_MAIN, _WAKE)
        if now - first > (_SECONDS_TO_WRITE if _STATE.unfinished else _SECONDS_TO_END):
            _end_now(_STATE.number or signal.SIGINT)


def _ours(number: int) -> bool:
    """Returns whether a signal ends the command: training and servers have handlers of their own."""
    handler = signal.getsignal(number) if number in SIGNALS else None
    return handler is _handle or handler in _NOTING


def _end_now(number: int) -> None:
    """Ends this process and its workers at once, and removes unfinished files."""
    _STATE.over = True
    processes = sys.modules.get("multiprocessing")
    for child in processes.active_children() if processes else ():
        child.kill()
    for path in tuple(_STATE.unfinished):
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.write(2, f"alexnet-fast: {told_by(number)}\n".encode())
    os._exit(128 + number)


def told_by(number: int) -> str:
    """Returns the message of a command that a signal ended."""
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"


def _unless_interrupted(hook: Any) -> Any:
    """Returns a hook for uncaught exceptions that is silent once a signal ends the command."""

    def silent(unhandled: Any) -> None:
        if _STATE.number is None:
            hook(unhandled)
        elif issubclass(unhandled.exc_type, KeyboardInterrupt) and threading.get_ident() == _MAIN:
            _STATE.lost = not _STATE.over

    return silent


def _end_by_signal() -> None:
    """Ends by SIGTERM or SIGHUP, so that the parent process sees it; for Ctrl-C it sees 130."""
    if _STATE.number not in (None, signal.SIGINT):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        signal.raise_signal(_STATE.number)
