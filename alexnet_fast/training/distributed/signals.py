"""Signals that ask a run to save and end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

# SIGTERM comes from schedulers and launchers, SIGUSR1 from Slurm ahead of a job's end (sbatch --signal).
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class StopSignals:
    """Takes note of the signals while its block runs, instead of dying of them.

    Python hands signals to the main thread alone: in any other thread none is noted.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        """Remembers a signal."""
        self.received = signal.Signals(number).name
