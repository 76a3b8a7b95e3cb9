"""A click group that imports a command's module only when the command is looked up."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import click

from alexnet_fast.utils.wording import on_command_line


class LazyGroup(click.Group):
    """Commands by name, each the click command of the same name in a module of its own.

    Args:
        modules: Maps a command's name to "package.module:attribute".
    """

    modules: dict[str, str]

    def __init__(self, *args: object, modules: dict[str, str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.modules = modules

    def main(self, *args: Any, **extra: Any) -> Any:
        """Runs a command; meanwhile messages name options as the command line does."""
        with on_command_line():
            return super().main(*args, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order in which they were given: the order of the work."""
        del ctx
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports and returns one command, or None where there is none of that name."""
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
