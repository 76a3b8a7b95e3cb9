"""Options from TOML files: a file may set any option of a command; the command line wins."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from alexnet_fast.cli.command import say
from alexnet_fast.cli.train_options import AUGMENTATION_OPTIONS
from alexnet_fast.errors import UserError
from alexnet_fast.utils.toml import read_toml

# Sources that win over files of options; --augmentation FILE makes its options the command's defaults.
_BEFORE_FILES = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)

# Options that select files, or how the result is shown.
_NOT_IN_FILES = frozenset({"augmentation", "config", "recipe", "as_json", "debug", "resume", "help_all"})


def read_options(path: Path, ctx: click.Context, *, named: str | None = None) -> dict[str, Any]:
    """Reads the options of a command from a TOML file.

    Args:
        path: The file: one `option = value` per line, with the names of the command line without `--`; "-"
            and "_" are the same.
        ctx: The command that is running.
        named: Name of the file in messages; by default `--config PATH`.

    Raises:
        UserError: The file is missing or not TOML, a key is not an option of the command, or a value does not
            fit.
    """
    table, named = read_toml(path), named or f"--config {path}"
    inner = table.pop("augmentation", {})
    if not isinstance(inner, dict):
        raise UserError(
            f"{named}: 'augmentation' is a table",
            "write [augmentation] and its options below it",
            exit_code=2,
        )
    return {**options_of(table, named, ctx), **augmentation_of(inner, named, ctx)}


def augmentation_of(table: dict[str, Any], named: str, ctx: click.Context) -> dict[str, Any]:
    """Checks a table of augmentation options.

    Args:
        table: Values by name.
        named: Name of the file in messages.
        ctx: The running command; a line on stderr names the options that it does not have.

    Raises:
        UserError: A key is not an augmentation option, or a value does not fit.
    """
    for key in table:
        name = key.replace("-", "_")
        if name not in AUGMENTATION_OPTIONS:
            near = difflib.get_close_matches(name, AUGMENTATION_OPTIONS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"choose from {', '.join(AUGMENTATION_OPTIONS)}"
            raise UserError(f"{named}: '{key}' is not an augmentation option", hint, exit_code=2)
    known = {parameter.name for parameter in ctx.command.params}
    unused = [key for key in table if key.replace("-", "_") not in known]
    if unused:
        say(f"{named}: {ctx.command_path} does not use {', '.join(unused)}")
    return options_of({key: table[key] for key in table if key not in unused}, named, ctx)


def options_of(table: dict[str, Any], named: str, ctx: click.Context) -> dict[str, Any]:
    """Checks options of a command; arguments and errors are those of `augmentation_of`."""
    known = {p.name: p for p in ctx.command.params if p.name not in _NOT_IN_FILES}
    options = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, [str(k) for k in known], n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"see {ctx.command_path} --help"
            raise UserError(f"{named}: unknown option '{key}'", hint, exit_code=2)
        options[name] = _converted(named, key, value, known[name], ctx)
    return options


def merge(ctx: click.Context, given: dict[str, Any], *files: dict[str, Any]) -> dict[str, Any]:
    """Lets the command line win over the files, earlier files over later ones, and files over defaults.

    An augmentation file stands between the command line and the files.
    """
    merged = dict(given)
    for name in given:
        if ctx.get_parameter_source(name) in _BEFORE_FILES:
            continue
        for options in files:
            if name in options:
                merged[name] = options[name]
                break
    return merged


def given_options(ctx: click.Context, *files: dict[str, Any]) -> frozenset[str]:
    """Returns the names of the options that the user gave: on the command line, or in these files."""
    typed = {
        name
        for parameter in ctx.command.params
        if (name := parameter.name) and ctx.get_parameter_source(name) in _BEFORE_FILES
    }
    return frozenset(typed.union(*files))


def _converted(named: str, key: str, value: Any, option: click.Parameter, ctx: click.Context) -> Any:
    """Checks a value as the command line would."""
    flag = isinstance(option, click.Option) and option.is_flag
    if flag != isinstance(value, bool):
        expected = "true or false" if flag else "a value, not true or false"
        raise UserError(f"{named}: '{key}' needs {expected}", exit_code=2)
    try:
        return option.type.convert(value if flag else str(value), option, ctx)
    except click.BadParameter as error:
        raise UserError(f"{named}: '{key}': {error.message}", exit_code=2) from error


def take_augmentation(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Makes the options in a file the defaults of a command.

    Args:
        ctx: The running command, before its other options are read.
        path: The file; None without `--augmentation`.

    Raises:
        UsageError: The file cannot be read, or holds other options.
    """
    if path is None or ctx.resilient_parsing:
        return
    try:
        table = read_toml(path)
        if set(table) == {"augmentation"} and isinstance(table["augmentation"], dict):
            table = table["augmentation"]
        options = augmentation_of(table, f"--augmentation {path}", ctx)
    except UserError as error:
        raise click.UsageError(f"{error}.", ctx) from error
    ctx.default_map = {**(ctx.default_map or {}), **options}
