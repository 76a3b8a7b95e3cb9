"""A switch is a flag: `--dali False` of other trainers, which means true there, cannot be typed here."""

from __future__ import annotations

import click
from every_command import every_command


def test_no_option_takes_true_or_false_as_text() -> None:
    seen = 0
    for name, command in every_command():
        for option in command.params:
            if option.type is click.BOOL or isinstance(option.type, click.types.BoolParamType):
                assert isinstance(option, click.Option), (name, option.name)
                assert option.is_flag, (name, option.name)
                seen += 1
    assert seen > 20


def test_switches_that_a_recipe_can_turn_on_can_be_turned_off_again() -> None:
    """The command line wins over a file only if it can say no."""
    (train,) = (command for name, command in every_command() if name == "train")
    # --from-scratch is itself the way to say no.
    once = {"resume", "redo_epoch", "as_json", "debug", "from_scratch"}
    flags = [option for option in train.params if isinstance(option, click.Option) and option.is_flag]
    assert all(option.secondary_opts for option in flags if option.name not in once | {"help"})
