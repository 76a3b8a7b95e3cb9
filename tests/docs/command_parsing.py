"""Parses a command line of ours as click does, without running anything."""

from __future__ import annotations

import click

from alexnet_fast.cli.main import commands


def parse(arguments: list[str]) -> None:
    """Parses the arguments of `alexnet-fast`: commands, options, their values, what must be there.

    Raises:
        click.UsageError: Something does not fit.
    """
    command: click.Command = commands
    context = click.Context(command, info_name="alexnet-fast")
    while isinstance(command, click.Group):
        if not arguments:
            raise click.UsageError("a command is missing", context)
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command = found
        context = click.Context(command, info_name=name, parent=context)
    command.make_context("alexnet-fast", arguments)
