"""The command line as a process: streams, signals, exit code."""

from __future__ import annotations

import signal
import sys

import click

from alexnet_fast.cli.commands import commands
from alexnet_fast.utils.interrupts import Interrupted, interruptible, told_by
from alexnet_fast.utils.streams import OutputError, prepare_streams


def run_process() -> int:
    """Runs the command of this process.

    Returns:
        The exit code: 0, 1 if the work failed, 2 for wrong usage, 128 plus the number of a signal.
    """
    try:
        prepare_streams()
        with interruptible():
            code = _run()
            sys.stdout.flush()
        return code
    except OutputError as error:
        # A reader that stops, as `| head` does, needs no message; SIGPIPE ends programs in C then.
        if error.unread:
            return 128 + signal.SIGPIPE
        click.echo(
            f"alexnet-fast: cannot write to stdout: {error}; give it a file or /dev/null", file=sys.stderr
        )
        return 1
    except Interrupted as error:
        click.echo(f"alexnet-fast: {told_by(error.number)}", file=sys.stderr)
        return 128 + error.number


def _run() -> int:
    """Runs the command; click's errors become one line."""
    try:
        code = commands.main(prog_name="alexnet-fast", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), file=sys.stdout)
        return 2
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "alexnet-fast"
        click.echo(f"alexnet-fast: {error.format_message()} See {where} --help", file=sys.stderr)
        return 2
    except click.ClickException as error:
        click.echo(f"alexnet-fast: {error.format_message()}", file=sys.stderr)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        raise Interrupted(signal.SIGINT) from None
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return code if isinstance(code, int) else 0
