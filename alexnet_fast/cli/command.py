"""What every command shares: `--json`, `--debug`, one-line errors and exit codes."""

from __future__ import annotations

import functools
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

Result = dict[str, Any]


def answers(
    table: Callable[[Result], str | Iterable[str]], *, failed: Callable[[Result], bool] = lambda _: False
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Turns a function that returns a result into a command that prints it.

    Adds `--json` (the result as one JSON object, the last line of stdout) and `--debug` (the traceback of a
    user's mistake). Without `--json`, `table(result)` goes to stdout. Everything else that a command says
    belongs on stderr.

    Args:
        table: Renders the result for a reader: a text, or lines one by one.
        failed: Tells whether a part of the work failed: the result is printed, the exit code is 1.
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
                # What a signal has cut off may look like a mistake of the user's.
                if received() is not None:
                    sys.exit(130)
                if debug:
                    traceback.print_exc()
                click.echo(f"alexnet-fast: {error}", file=sys.stderr)
                sys.exit(error.exit_code)
            except KeyboardInterrupt:
                # What has received it, says so.
                if received() is None:
                    click.echo("alexnet-fast: interrupted", file=sys.stderr)
                sys.exit(130)
            # The stream is named, for click puts another in the place of one that is ASCII alone.
            for piece in _json_pieces(result) if as_json else _table_pieces(table(result)):
                click.echo(piece, nl=False, file=sys.stdout)
            click.echo(file=sys.stdout)
            if failed(result):
                sys.exit(1)

        return command

    return decorate


def _json_pieces(result: Result) -> Iterator[str]:
    """Yields the result as one JSON object on one line, piece by piece: its rows may be a great many."""
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
    """Yields a rendered result without a line feed at its end."""
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
