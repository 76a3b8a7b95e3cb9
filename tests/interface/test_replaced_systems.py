"""docs/replaced-systems.md names tests, files, options and commands that are there, or says "not yet"."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from alexnet_fast.cli.main import commands
from alexnet_fast.recipes import RECIPES

ROOT = Path(__file__).parents[2]


def cells() -> list[str]:
    """Returns the last column of every row, up to what does not work yet."""
    rows = (ROOT / "docs" / "replaced-systems.md").read_text(encoding="utf-8").splitlines()
    last = [row.strip("|").rsplit("|", 1)[-1] for row in rows if row.startswith("|") and "---" not in row]
    return [cell.partition("not yet")[0] for cell in last]


def command_options(command: click.Command) -> set[str]:
    """Returns every option of a command and of those below it."""
    own = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    below = getattr(command, "commands", None) or {}
    if isinstance(command, click.Group):
        context = click.Context(command)
        below = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return own.union(*(command_options(each) for each in below.values() if each))


@pytest.fixture(scope="module")
def code() -> list[str]:
    """Everything between backticks in those cells."""
    return [words for cell in cells() for words in re.findall(r"`([^`]+)`", cell)]


def test_the_table_is_read(code: list[str]) -> None:
    assert len(code) > 50


def test_every_file_that_is_named_is_there(code: list[str]) -> None:
    named = {word for words in code for word in words.split() if re.match(r"(tests|docs)/", word)}
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_option_recipe_and_command_that_is_named_is_there(code: list[str]) -> None:
    context = click.Context(commands)
    known, names = command_options(commands), set(commands.list_commands(context))
    used = {word for words in code for word in words.split() if word.startswith("--") and word != "--logdir"}
    assert sorted(used - known) == []
    recipes = {match for words in code for match in re.findall(r"--recipe (\S+)", words)}
    assert recipes <= set(RECIPES)
    starts = {words.split()[0] for words in code if re.match(r"[a-z]+ [A-Za-z]", words)}
    assert starts - {"from", "tensorboard", "tests/data/layouts"} <= names | {"crops"}
