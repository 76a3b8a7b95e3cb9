"""The progress of an engine's build in a terminal."""

from __future__ import annotations

from typing import Any

from alexnet_fast.utils.progress import progress_bar


class BuildLine:
    """One bar a phase of an engine's build."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ""

    def __call__(self, phase: str, step: int, steps: int) -> bool:
        """Shows the state of a phase; the build goes on."""
        if phase != self._phase:
            self.close()
            self._phase = phase
            self._bar = progress_bar(steps, phase[:40])
            self._bar.__enter__()
        self._bar.update(step - self._bar.pos)
        return True

    def close(self) -> None:
        """Ends the line."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
            self._phase = ""
