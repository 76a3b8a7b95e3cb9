"""Writes the command line reference into its page: every command and option, as click knows them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import click

from alexnet_fast.cli.help_page import option_groups
from alexnet_fast.cli.main import commands

# Stands in docs/command-line.md where the commands go.
MARK = "<!-- commands -->"

PROGRAM = "alexnet-fast"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the commands in the place of the mark (an event of MkDocs)."""
    return (
        markdown.replace(MARK, "\n".join(_command(_context(commands, PROGRAM))))
        if MARK in markdown
        else markdown
    )


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _command(context: click.Context) -> Iterator[str]:
    """Yields the lines of a command and of those below it, in the order of `--help`."""
    command, path = context.command, context.command_path
    level = "##" if context.parent is None or context.parent.parent is None else "###"
    if context.parent is not None:
        yield from (f"{level} {path.removeprefix(PROGRAM)}", "")
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield from ("```text", usage, "```", "")
    yield from (*inspect.cleandoc(command.help or "").replace("\b", "").splitlines(), "")
    yield from _options(context)
    yield from _examples(command.epilog or "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _command(_context(below, name, context))


def _options(context: click.Context) -> Iterator[str]:
    """Yields a table of options for each group; click writes the texts with their defaults and ranges."""
    groups = option_groups(context.command, context, everything=True)
    for title, records in groups.items():
        # This page shows more than --help and --help-all do.
        rows = [(names, text) for names, text in records if "--help" not in names]
        if not rows:
            continue
        if len(groups) > 1:
            yield from (f"**{title}**", "")
        yield from ("| option | what it does |", "|---|---|")
        yield from (f"| `{names}` | {_cell(text)} |" for names, text in rows)
        yield ""


def _cell(text: str) -> str:
    """Escapes what would end a cell, or begin markup in it; options become code."""
    escaped = re.sub(r"([|<*_\[\]])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![\w-])(--[a-z][a-z0-9-]*)", r"`\1`", escaped)


def _examples(epilog: str) -> Iterator[str]:
    """Yields the examples below a command's help as one block."""
    lines = [line.strip() for line in epilog.replace("\b", "").splitlines()]
    examples = [line for line in lines if line.startswith(PROGRAM)]
    if examples:
        yield from ("```sh", *examples, "```", "")
