"""Options from TOML files: a file sets any option of its command, the command line wins."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from alexnet_fast.errors import UserError
from alexnet_fast.toml_file import read_toml

# Options that say where others come from, or how a result is shown.
_NOT_IN_FILES = frozenset({"config", "recipe", "as_json", "debug", "resume"})


def read_options(path: Path, ctx: click.Context, *, named: str | None = None) -> dict[str, Any]:
    """Reads the options of a command from a TOML file.

    Args:
        path: The file: one `option = value` a line, the names those of the command line without `--`; "-"
            and "_" are the same.
        ctx: The command that is running.
        named: How the user named the file; `--config PATH` where it is None.

    Raises:
        UserError: The file is missing or no TOML, a key is no option of the command, or a value does not fit.
    """
    table, named = read_toml(path), named or f"--config {path}"
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
    """Lets the command line win over the files, earlier files over later ones, and files over defaults."""
    merged = dict(given)
    for name in given:
        if ctx.get_parameter_source(name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
            continue
        for options in files:
            if name in options:
                merged[name] = options[name]
                break
    return merged


def _converted(named: str, key: str, value: Any, option: click.Parameter, ctx: click.Context) -> Any:
    """Checks a value as the command line would."""
    flag = isinstance(option, click.Option) and option.is_flag
    if flag != isinstance(value, bool):
        wanted = "true or false" if flag else "a value, not true or false"
        raise UserError(f"{named}: '{key}' needs {wanted}", exit_code=2)
    try:
        return option.type.convert(value if flag else str(value), option, ctx)
    except click.BadParameter as error:
        raise UserError(f"{named}: '{key}': {error.message}", exit_code=2) from error
