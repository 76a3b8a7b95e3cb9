"""Command line options from the fields of `TrainConfig`, for `train` and commands that share them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli.types import GroupedOption, Number
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.option import AUGMENTATION, GROUPS, flag_name, may_change, option_of

Decorator = Callable[[Any], Any]
FIELDS = {field.name: field for field in dataclasses.fields(TrainConfig)}
# Options that a file of augmentation options may set.
AUGMENTATION_OPTIONS = tuple(name for name, field in FIELDS.items() if option_of(field).group == AUGMENTATION)


def train_option(name: str, **changed: Any) -> Decorator:
    """Returns the option of a field of `TrainConfig`.

    Args:
        name: The field.
        changed: Arguments of `click.Option` that a command overrides.
    """
    field = FIELDS[name]
    declared = option_of(field)
    flag = flag_name(name)
    arguments: dict[str, Any] = {
        "cls": GroupedOption,
        "group": declared.group,
        "common": declared.common,
        "default": declared.cli_default or field.default,
        "show_default": declared.default_text if declared.cli_default else True,
        "metavar": declared.metavar,
        "help": declared.help,
    }
    if declared.default_text and not declared.cli_default:
        arguments |= {"show_default": False, "help": f"{declared.help}  [default: {declared.default_text}]"}
    if isinstance(field.default, bool):
        return click.option(f"{flag}/--no-{flag[2:]}", name, **{**arguments, **changed})
    if declared.choices:
        arguments["type"] = click.Choice(declared.choices)
    elif declared.range:
        arguments["type"] = Number(declared.range)
    elif "Path" in str(field.type):
        arguments["type"] = click.Path(path_type=Path)
    return click.option(flag, name, **{**arguments, **changed})


def train_options(*without: str) -> Decorator:
    """Returns a decorator that adds every option of training, in the order of the groups.

    Args:
        without: Fields that the command declares itself.
    """
    names = [
        name
        for group in GROUPS
        for name, field in FIELDS.items()
        if option_of(field).group == group and name not in without
    ]

    def decorate(function: Any) -> Any:
        for name in reversed(names):
            function = train_option(name)(function)
        return function

    return decorate


def changeable() -> str:
    """Returns the options that `--resume` may change, as text."""
    return ", ".join(sorted(flag_name(name) for name, field in FIELDS.items() if may_change(field)))
