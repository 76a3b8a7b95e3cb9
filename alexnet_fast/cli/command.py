"""Features of every command: `--json`, `--debug`, one-line errors and exit codes."""

from __future__ import annotations

import difflib
import functools
import importlib
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from alexnet_fast.cli.path_roles import check_paths
from alexnet_fast.cli.spooled_rows import SpooledRows
from alexnet_fast.errors import UserError
from alexnet_fast.utils.interrupts import received
from alexnet_fast.utils.progress import above_bars
from alexnet_fast.wording import on_command_line


class LazyGroup(click.Group):
    """A group that imports each command when it is needed.

    Args:
        modules: Maps a command's name to "package.module:attribute".
    """

    modules: dict[str, str]

    def __init__(self, *args: object, modules: dict[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.modules = modules

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs a command; its messages name options as the command line does."""
        with on_command_line():
            return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order of the work."""
        del ctx
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns a command; None if there is none of that name."""
        del ctx
        if cmd_name not in self.modules:
            return None
        module, _, attribute = self.modules[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Adds the near match to click's complaint about an unknown command."""
        near = difflib.get_close_matches(args[0], self.modules, n=1)
        if args[0] not in self.modules and near:
            ctx.fail(f"No such command '{args[0]}'; did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)


Result = dict[str, Any]


def answers(
    table: Callable[[Result], str | Iterable[str]], *, failed: Callable[[Result], bool] = lambda _: False
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Turns a function that returns a result into a command that prints it.

    Adds `--json` (the result as one JSON object, the last line of stdout) and `--debug` (the traceback of a
    user's mistake). Without `--json`, `table(result)` goes to stdout. All other output belongs on stderr.

    Args:
        table: Renders the result for a reader: a text, or lines.
        failed: Returns whether a part of the work failed; then the result is printed and the exit code is 1.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
        @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
        @functools.wraps(function)
        def command(*args: Any, as_json: bool, debug: bool, **kwargs: Any) -> None:
            try:
                check_paths(click.get_current_context())
                result = function(*args, **kwargs)
            except UserError as error:
                # Work that a signal interrupted may look like a mistake of the user's.
                if received() is not None:
                    sys.exit(130)
                if debug:
                    traceback.print_exc()
                click.echo(f"alexnet-fast: {error}", file=sys.stderr)
                sys.exit(error.exit_code)
            except KeyboardInterrupt:
                # If a signal handler received it, that prints the line.
                if received() is None:
                    click.echo("alexnet-fast: interrupted", file=sys.stderr)
                sys.exit(130)
            # The stream is given, since click replaces one that is ASCII only.
            for piece in _json_pieces(result) if as_json else _table_pieces(table(result)):
                click.echo(piece, nl=False, file=sys.stdout)
            click.echo(file=sys.stdout)
            if failed(result):
                sys.exit(1)

        return command

    return decorate


def _json_pieces(result: Result) -> Iterator[str]:
    """Yields the result as one JSON object on one line, in pieces, since it may have many rows."""
    comma = "{"
    for name, value in result.items():
        yield f"{comma}{json.dumps(name)}: "
        comma = ", "
        if isinstance(value, SpooledRows):
            between = "["
            for line in value.lines():
                yield between + line
                between = ", "
            yield "]" if len(value) else "[]"
        else:
            yield json.dumps(value, default=str)
    yield "}" if result else "{}"


def _table_pieces(rendered: str | Iterable[str]) -> Iterator[str]:
    """Yields a rendered result without the final line feed."""
    if isinstance(rendered, str):
        yield rendered
        return
    between = ""
    for line in rendered:
        yield between + line
        between = "\n"


def say(message: str) -> None:
    """Prints a line for a person to stderr."""
    with above_bars():
        click.echo(message, file=sys.stderr)
