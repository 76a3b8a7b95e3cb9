"""Help pages in groups: `--help` shows what most people need, `--help-all` everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from alexnet_fast.cli.types import GroupedOption
from alexnet_fast.training.option import GROUPS

# Titles that the groups of training stand between.
OPTIONS, OUTPUT = "Options", "Output"
_OUTPUT_OPTIONS = frozenset({"as_json", "debug", "help", "help_all"})
_ALL = "alexnet_fast.help_all"


class HelpCommand(click.Command):
    """A command whose help page has its options in groups; with uncommon ones it gets `--help-all`.

    Args:
        more: A paragraph that only `--help-all` shows.
    """

    def __init__(self, *args: Any, more: str = "", **given: Any) -> None:
        super().__init__(*args, **given)
        self.more = more

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Returns the parameters, with `--help-all` if `--help` leaves options out."""
        params = super().get_params(ctx)
        if all(is_common(param) for param in params):
            return params
        more = click.Option(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_all,
            help="Show all options and exit.",
        )
        return [*params, more]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, group by group."""
        everything = bool(ctx.meta.get(_ALL))
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in (OPTIONS, *GROUPS, OUTPUT)}
        for param in self.get_params(ctx):
            record = None if isinstance(param, click.Argument) else param.get_help_record(ctx)
            if record is not None and (everything or is_common(param)):
                groups[group_of(param)].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
        if everything and self.more:
            formatter.write_paragraph()
            formatter.write_text(self.more)


class HelpGroup(click.Group):
    """A group whose commands have such pages."""

    command_class = HelpCommand


def command(*args: Any, **given: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a command with such a page; the arguments are those of `click.command`."""
    return click.command(*args, cls=HelpCommand, **given)


def group_of(param: click.Parameter) -> str:
    """Returns the title that a parameter stands under."""
    if param.name in _OUTPUT_OPTIONS or "--help" in param.opts:
        return OUTPUT
    return (isinstance(param, GroupedOption) and param.group) or OPTIONS


def is_common(param: click.Parameter) -> bool:
    """Tells whether `--help` shows a parameter."""
    return param.common if isinstance(param, GroupedOption) else True


def _show_all(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Prints the help page with every option, and ends."""
    if value and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()
