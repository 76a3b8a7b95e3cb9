"""Ctrl-C while C++ calls back into Python."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def deferred_sigint(note: Callable[[], object]) -> Iterator[None]:
    """Calls a function at Ctrl-C instead of raising, and raises when the block is over.

    An exception that is raised in a callback of TensorRT's is lost between its frames, and with it the wish
    to end. Another thread than the main one never sees Ctrl-C, so nothing is changed there.

    Args:
        note: Makes the work in the block end soon.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = False

    def handle(*_: Any) -> None:
        nonlocal pressed
        pressed = True
        note()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
