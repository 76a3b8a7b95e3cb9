"""Help pages in groups: `--help` shows what most people need, `--help-all` everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from alexnet_fast.cli.types import GroupedOption
from alexnet_fast.training.option import GROUPS

# Titles before and after the groups of `train`.
OPTIONS, OUTPUT = "Options", "Output"
_OUTPUT_OPTIONS = frozenset({"as_json", "debug", "help", "help_all"})
_ALL = "alexnet_fast.help_all"
# Options that fit on one page of help.
_ON_A_PAGE = 25


class HelpCommand(click.Command):
    """A command with its options in groups; one with uncommon options gets `--help-all`.

    Args:
        more: A paragraph that only `--help-all` shows.
    """

    def __init__(self, *args: Any, more: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.more = more

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Returns the parameters, with `--help-all` if `--help` leaves options out."""
        params = super().get_params(ctx)
        if not _leaves_out(params):
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
        for title, records in option_groups(self, ctx, everything=everything).items():
            with formatter.section(title):
                formatter.write_dl(records)
        if everything and self.more:
            formatter.write_paragraph()
            formatter.write_text(self.more)


class HelpGroup(click.Group):
    """A group of `HelpCommand`s."""

    command_class = HelpCommand


def command(*args: Any, **options: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Returns a decorator that makes a `HelpCommand`; the arguments are those of `click.command`."""
    return click.command(*args, cls=HelpCommand, **options)


def option_groups(
    command: click.Command, ctx: click.Context, *, everything: bool
) -> dict[str, list[tuple[str, str]]]:
    """Returns names and help texts of a command's options, by the title of their group.

    Args:
        command: The command.
        ctx: Its context.
        everything: Whether to include the options that only `--help-all` shows.
    """
    groups: dict[str, list[tuple[str, str]]] = {title: [] for title in (OPTIONS, *GROUPS, OUTPUT)}
    params = command.get_params(ctx)
    everything = everything or not _leaves_out(params)
    for param in params:
        record = None if isinstance(param, click.Argument) else param.get_help_record(ctx)
        if record is not None and (everything or is_common(param)):
            groups[group_of(param)].append(record)
    return {title: records for title, records in groups.items() if records}


def group_of(param: click.Parameter) -> str:
    """Returns the title of the group that a parameter belongs to."""
    if param.name in _OUTPUT_OPTIONS or "--help" in param.opts:
        return OUTPUT
    return (isinstance(param, GroupedOption) and param.group) or OPTIONS


def _leaves_out(params: list[click.Parameter]) -> bool:
    """Returns whether `--help` leaves options out: only if all of them would not fit on a page."""
    return len(params) > _ON_A_PAGE and not all(is_common(param) for param in params)


def is_common(param: click.Parameter) -> bool:
    """Returns whether `--help` shows a parameter of a command with many options."""
    return param.common if isinstance(param, GroupedOption) else True


def _show_all(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Prints the help page with every option and exits."""
    if value and not ctx.resilient_parsing:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()
