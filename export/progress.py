"""How long work tells its caller where it stands."""

from __future__ import annotations

from collections.abc import Callable

# Called with the name of the phase, the steps done and the steps in all. Returning False cancels the build of
# an engine; every other value, and every value elsewhere, means to go on.
Progress = Callable[[str, int, int], object]
