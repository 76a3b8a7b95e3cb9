"""What the text of the documentation names between backticks is there: options, files and tests."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from doc_blocks import PAGES, ROOT, prose

from alexnet_fast.cli.main import commands

# Options of other programs: torchrun, pip, tensorboard, docker, and of the C++ `classify`.
OF_OTHERS = {
    "--logdir", "--max-restarts", "--no-deps", "--nnodes", "--nproc-per-node", "--rdzv-endpoint",
    "--signals-to-handle", "--unverified", "--file",
}  # fmt: skip

# Paths that begin with these are of the repository; others are the user's.
DIRS = ("alexnet_fast", "docs", "export", "pipelines", "serve", "tests", ".ci")


def named(page: Path) -> list[str]:
    """Returns what stands between backticks in the text of a page."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def known_options() -> set[str]:
    """Returns the options of every command."""
    return options_below(commands) | {"--help", "--help-all", "--version"}


def options_below(command: click.Command) -> set[str]:
    """Returns the options of a command and of those below it."""
    own = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    if isinstance(command, click.Group):
        context = click.Context(command)
        below = [command.get_command(context, name) for name in command.list_commands(context)]
        own = own.union(*(options_below(each) for each in below if each))
    return own


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_exist(page: Path) -> None:
    used = {word for words in named(page) for word in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", words)}
    assert sorted(used - known_options() - OF_OTHERS) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_exist(page: Path) -> None:
    paths = {word for words in named(page) for word in words.split() if re.match(r"[\w.-]+/[\w./-]+$", word)}
    ours = {path for path in paths if path.split("/")[0] in DIRS}
    assert sorted(path for path in ours if not (ROOT / path).exists()) == []
    modules = {word for words in named(page) for word in re.findall(r"python -m (alexnet_fast[\w.]*)", words)}
    assert [name for name in modules if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []
