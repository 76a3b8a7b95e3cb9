"""The progress callback of long work."""

from __future__ import annotations

from collections.abc import Callable

# Called with the name of the phase, the steps done and the total. Returning False cancels the build of an
# engine; every other value, and every value elsewhere, continues.
Progress = Callable[[str, int, int], object]
