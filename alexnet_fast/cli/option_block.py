"""Several options that go together, as one decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Decorator = Callable[[Any], Any]


def all_of(*options: Decorator) -> Decorator:
    """Returns a decorator that adds options in their order."""

    def decorate(function: Any) -> Any:
        for add in reversed(options):
            function = add(function)
        return function

    return decorate
