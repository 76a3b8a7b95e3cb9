"""Ctrl-C and the other signals that end a command, from its first import to its last word.

Inside `interruptible` the first signal raises `Interrupted`, so that what is under way is put away. A second
one, and a term after the first, end the process at once: nothing that swallows an exception, and no library
that computes for minutes, can keep it alive. What ends then are also its worker processes, and what
`gone_at_the_end` names.
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

# SIGHUP comes when a terminal is closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Programs such as `timeout` and npm pass on a signal that the whole group has had already.
_SECONDS_OF_AN_ECHO = 0.3
# A signal that comes just before the main thread begins to wait, or to another thread, does not end what it
# waits for. One to the thread itself does: this one, which nobody else sends and which is ignored by default.
_WAKE = signal.SIGURG
_SECONDS_UNTIL_AWAKE = 0.2
# What is under way has so long to end; what a file needs that is being written, such as a checkpoint, more.
_SECONDS_TO_END = 10.0
_SECONDS_TO_WRITE = 120.0


class Interrupted(KeyboardInterrupt):
    """A signal asks the command to end.

    Args:
        number: Which one.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _State:
    """What this process was told."""

    def __init__(self) -> None:
        self.number: int | None = None
        # An `Interrupted` that was lost in a destructor or a callback is raised once more.
        self.lost = self.again = False
        self.over = False
        self.unfinished: set[Path] = set()


_STATE = _State()
_MAIN = threading.main_thread().ident or 0


def received() -> int | None:
    """Returns the number of the signal that has asked the command to end; None where none has."""
    return _STATE.number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raises `Interrupted` in the block at the first signal; afterwards signals end the process silently.

    For the main thread of a program of ours, once. A signal that the program was started with ignored (as by
    nohup) stays ignored.

    Raises:
        Interrupted: A signal came, whatever exception it became on its way.
    """
    before = sys.unraisablehook, threading.excepthook
    sys.unraisablehook, threading.excepthook = _unless_interrupted(before[0]), _unless_interrupted(before[1])
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(heard,), name="signals", daemon=True).start()
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
    """Lets processes be started in the block that do not hear Ctrl-C, which a terminal sends to all.

    They inherit the mask of this thread, so not even their interpreter's start can be interrupted; what they
    run decides what they listen to. In the main thread a signal waits until the block is over: a process that
    is half started would say so in a traceback of its own.

    Args:
        blocked: More signals that they are not to hear.
    """
    # It lifts the mask when it starts its process; with that running already it leaves it alone.
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
    """Keeps signals with a handler in Python until the block is over."""
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


# Handlers that stand for others for the moment.
_NOTING: list[Any] = []


def _handle(number: int, frame: FrameType | None) -> None:
    """Raises at the first signal; the watching thread follows another."""
    if _STATE.number is not None:
        return
    _STATE.number = number
    # Modules written in C turn whatever is raised while they are imported into an ImportError, which others
    # then take for a library that is not there.
    if _importing(frame):
        _end_now(number)
    raise Interrupted(number)


def _wake(_: int, frame: FrameType | None) -> None:
    """Raises once more what was lost; in the hook that noted the loss it would be lost again."""
    if _STATE.again and not (frame is not None and frame.f_code.co_name == "silent"):
        _STATE.again = False
        raise Interrupted(_STATE.number or signal.SIGINT)


def _importing(frame: FrameType | None) -> bool:
    """Tells whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _watch(heard: int) -> None:
    """Sees to it that signals are followed, while the main thread may be anywhere; runs in a thread."""
    first: float | None = None
    wake = 0.0
    while True:
        ready, _, _ = select.select([heard], [], [], None if first is None else 0.05)
        now = time.monotonic()
        for number in os.read(heard, 64) if ready else b"":
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
    """Tells whether a signal ends the command: training and servers have handlers of their own."""
    handler = signal.getsignal(number) if number in SIGNALS else None
    return handler is _handle or handler in _NOTING


def _end_now(number: int) -> None:
    """Ends this process and its workers at once, and removes what is unfinished."""
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
    """Returns what a command says that a signal has ended."""
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"


def _unless_interrupted(hook: Any) -> Any:
    """Returns a hook for exceptions that nobody caught which is silent once the command is told to end."""

    def silent(unhandled: Any) -> None:
        if _STATE.number is None:
            hook(unhandled)
        elif issubclass(unhandled.exc_type, KeyboardInterrupt) and threading.get_ident() == _MAIN:
            _STATE.lost = not _STATE.over

    return silent


def _end_by_signal() -> None:
    """Lets who waits for this process see that SIGTERM or SIGHUP ended it; of Ctrl-C 130 tells."""
    if _STATE.number not in (None, signal.SIGINT):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        signal.raise_signal(_STATE.number)
