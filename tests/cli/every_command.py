"""All commands of `alexnet-fast` with their options, for tests that try each of them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from alexnet_fast.cli.main import commands


def every_command(group: click.Group = commands, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yields each command with its name."""
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        if isinstance(command, click.Group):
            yield from every_command(command, f"{name} {word}")
        else:
            yield f"{name} {word}".strip(), command
