"""The `alexnet-fast` command: `alexnet-fast COMMAND --help` explains each part of the work."""

from __future__ import annotations

import sys

import click

from alexnet_fast import __version__
from alexnet_fast.cli.group import LazyGroup

COMMANDS = {
    name: f"alexnet_fast.cli.{name}:{name}"
    for name in (
        "prepare",
        "scan",
        "train",
        "evaluate",
        "predict",
        "features",
        "export",
        "serve",
        "bench",
        "show",
        "doctor",
        "demo",
    )
}


@click.group(
    cls=LazyGroup,
    modules=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: alexnet-fast doctor, then alexnet-fast train DATA --dali",
)
@click.version_option(__version__, prog_name="alexnet-fast")
def commands() -> None:
    """From a folder of JPEGs to a served TensorRT engine."""


def main() -> None:
    """Runs the command line; a wrong option ends in one line on stderr and exit code 2."""
    try:
        sys.exit(commands.main(prog_name="alexnet-fast", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "alexnet-fast"
        click.echo(f"alexnet-fast: {error.format_message()} See {where} --help", err=True)
        sys.exit(2)
    except click.ClickException as error:
        click.echo(f"alexnet-fast: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("alexnet-fast: interrupted", err=True)
        sys.exit(130)
