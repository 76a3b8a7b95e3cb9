"""Hints for unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def choose_from(name: str, known: Collection[str]) -> str:
    """Returns the hint for an unknown name: the nearest known name, if there is one, and all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    return f"{guess}choose from {', '.join(known)}"
