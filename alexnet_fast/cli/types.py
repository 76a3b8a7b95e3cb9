"""Option types of commands: numbers within a range, and options in groups of the help page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.utils.ranges import OPTION_RANGES, Range, shown

if TYPE_CHECKING:
    _NumberType = click.ParamType[int | float]
else:
    # Generic to type checkers alone in click 8.2.
    _NumberType = click.ParamType


class GroupedOption(click.Option):
    """An option with a group on the help page.

    Args:
        group: Title of the group.
        common: Whether `--help` of a command with many options shows it; `--help-all` shows every option.
    """

    def __init__(self, *args: Any, group: str = "", common: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.group, self.common = group, common


class Number(_NumberType):
    """A finite number within a range.

    Args:
        range: The range.
    """

    def __init__(self, range: Range) -> None:  # noqa: A002 - the usual name
        self.range = range
        self.name = "integer" if range.whole else "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """Returns the number in a text."""
        try:
            return self.range.read(value) if isinstance(value, str) else self.range.take(value)
        except ValueError:
            return self.fail(f"give {self.range}, not {shown(value)}", param, ctx)

    def __repr__(self) -> str:
        return self.name.upper()


def number(*names: str, of: Range | None = None, **options: Any) -> Callable[[Any], Any]:
    """Adds an option that takes a number.

    Args:
        names: As for `click.option`; the option's name comes first.
        of: Its range; by default the range of its name in `OPTION_RANGES`.
        options: As for `GroupedOption`.
    """
    field = names[0].removeprefix("--").replace("-", "_")
    return click.option(*names, cls=GroupedOption, type=Number(of or OPTION_RANGES[field]), **options)
