"""Help pages: short, in groups, one plain sentence per option; completion offers what `--help` leaves out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from every_command import every_command

from alexnet_fast.cli.help_page import is_common, option_groups
from alexnet_fast.cli.main import commands
from alexnet_fast.training.option import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterator

# "images a step" instead of "per step"; "where there is no val/" instead of "if".
RIDDLES = re.compile(
    r"\b(\w+s|path|one) an? (step|epoch|batch|second|image|core|call|turn|line)\b|\bwhere (?!to\b)", re.I
)


def help_of(*words: str) -> str:
    done = CliRunner().invoke(commands, [*words], prog_name="alexnet-fast", terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output


def every_option() -> Iterator[tuple[str, click.Option]]:
    for path, command in every_command():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                yield f"{path} {parameter.opts[0]}", parameter


def test_help_of_train_fits_on_a_page() -> None:
    assert len(help_of("train", "--help").splitlines()) <= 60


def test_help_all_of_train_shows_every_option_and_help_the_common_ones() -> None:
    train = commands.get_command(click.Context(commands), "train")
    assert train is not None
    common, everything = help_of("train", "--help"), help_of("train", "--help-all")
    for option in train.params:
        if isinstance(option, click.Option):
            assert option.opts[0] in everything
            assert (f"  {option.opts[0]} " in common) == is_common(option), option.opts[0]


def test_options_of_train_are_in_groups() -> None:
    titles = re.findall(r"^(\w+):$", help_of("train", "--help-all"), re.MULTILINE)
    assert titles == [*GROUPS, "Output"]


def test_help_all_is_offered_only_if_help_leaves_something_out() -> None:
    for path, command in every_command():
        context = click.Context(command)
        left_out = option_groups(command, context, everything=False) != option_groups(
            command, context, everything=True
        )
        names = {name for parameter in command.get_params(context) for name in parameter.opts}
        assert ("--help-all" in names) == left_out, path


@pytest.mark.parametrize(("name", "option"), [pytest.param(*pair, id=pair[0]) for pair in every_option()])
def test_every_option_has_one_plain_sentence(name: str, option: click.Option) -> None:
    text = re.sub(r"\s*\[default: .*\]$", "", option.help or "")
    assert text, name
    assert text[0].isupper() or text.startswith("auto, "), text
    assert text.endswith("."), text
    assert not re.search(r"[.] [A-Z]", text), text
    assert not RIDDLES.search(text), text


@pytest.mark.parametrize(
    ("words", "incomplete", "completed"),
    [
        (["train"], "--mixup", "--mixup-alpha"),
        (["train"], "--help-", "--help-all"),
        (["train"], "--lr-sch", "--lr-schedule"),
        (["bench", "input"], "--base", "--baselines"),
        ([], "tra", "train"),
    ],
)
def test_the_shell_completes(words: list[str], incomplete: str, completed: str) -> None:
    completion = ShellComplete(commands, {}, "alexnet-fast", "_ALEXNET_FAST_COMPLETE")
    assert completed in [item.value for item in completion.get_completions(words, incomplete)]
