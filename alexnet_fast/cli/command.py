"""What every command shares: `--json`, `--debug`, one-line errors and exit codes."""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from alexnet_fast.errors import UserError
from alexnet_fast.progress_bar import above_bars

Result = dict[str, Any]


def answers(
    table: Callable[[Result], str], *, failed: Callable[[Result], bool] = lambda _: False
) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Turns a function that returns a result into a command that prints it.

    Adds `--json` (the result as one JSON object, the last line of stdout) and `--debug` (the traceback of a
    user's mistake). Without `--json`, `table(result)` goes to stdout. Everything else that a command says
    belongs on stderr.

    Args:
        table: Renders the result for a reader.
        failed: Tells whether a part of the work failed: the result is printed, the exit code is 1.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        @click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
        @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
        @functools.wraps(function)
        def command(*args: Any, as_json: bool, debug: bool, **kwargs: Any) -> None:
            try:
                result = function(*args, **kwargs)
            except UserError as error:
                if debug:
                    traceback.print_exc()
                click.echo(f"alexnet-fast: {error}", err=True)
                sys.exit(error.exit_code)
            except KeyboardInterrupt:
                click.echo("alexnet-fast: interrupted", err=True)
                sys.exit(130)
            click.echo(json.dumps(result, default=str) if as_json else table(result))
            if failed(result):
                sys.exit(1)

        return command

    return decorate


def say(message: str) -> None:
    """Prints a line for a person to stderr."""
    with above_bars():
        click.echo(message, err=True)
