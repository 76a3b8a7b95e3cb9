"""The types of options: a number within its range, a name out of a few."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.utils.ranges import OPTION_CHOICES, OPTION_RANGES, Range, shown

if TYPE_CHECKING:
    _NumberType = click.ParamType[int | float]
else:
    # Generic to type checkers alone in click 8.2.
    _NumberType = click.ParamType


class Number(_NumberType):
    """A finite number within a range; nan, inf and what else is no number is refused in a sentence.

    Args:
        taken: The range.
    """

    def __init__(self, taken: Range) -> None:
        self.taken = taken
        self.name = "integer" if taken.whole else "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """Returns the number that a text says."""
        try:
            return self.taken.read(value) if isinstance(value, str) else self.taken.take(value)
        except ValueError:
            return self.fail(f"give {self.taken}, not {shown(value)}", param, ctx)

    def __repr__(self) -> str:
        return self.name.upper()


def number(*names: str, of: Range | None = None, **given: Any) -> Callable[[Any], Any]:
    """Adds an option that takes a number.

    Args:
        names: As for `click.option`, the option's first.
        of: Its range; by default that of its name in `OPTION_RANGES`.
        given: As for `click.option`.
    """
    return click.option(*names, type=Number(of or OPTION_RANGES[_field(names)]), **given)


def choice(*names: str, **given: Any) -> Callable[[Any], Any]:
    """Adds an option that takes one of its names in `OPTION_CHOICES`; see `number`."""
    return click.option(*names, type=click.Choice(OPTION_CHOICES[_field(names)]), **given)


def _field(names: tuple[str, ...]) -> str:
    """Returns the name of an option as a field."""
    return names[0].removeprefix("--").replace("-", "_")
