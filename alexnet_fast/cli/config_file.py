"""Options from TOML files: a file sets any option of its command, the command line wins."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from alexnet_fast.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_options(path: Path, ctx: click.Context) -> dict[str, Any]:
    """Reads the options of a command from a TOML file.

    Args:
        path: The file: one `option = value` a line, the names those of the command line without `--`; "-"
            and "_" are the same.
        ctx: The command that is running.

    Raises:
        UserError: The file is missing or no TOML, a key is no option of the command, or a value does not fit.
    """
    table = read_toml(path)
    known = {p.name: p for p in ctx.command.params if p.name not in ("config", "as_json", "debug", "resume")}
    options = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, [str(k) for k in known], n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"see {ctx.command_path} --help"
            raise UserError(f"--config {path}: unknown option '{key}'", hint, exit_code=2)
        options[name] = _converted(path, key, value, known[name], ctx)
    return options


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        UserError: It is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {(error.strerror or '').lower()}", exit_code=2) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}", exit_code=2) from error


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


def _converted(path: Path, key: str, value: Any, option: click.Parameter, ctx: click.Context) -> Any:
    """Checks a value as the command line would."""
    flag = isinstance(option, click.Option) and option.is_flag
    if flag != isinstance(value, bool):
        wanted = "true or false" if flag else "a value, not true or false"
        raise UserError(f"--config {path}: '{key}' needs {wanted}", exit_code=2)
    try:
        return option.type.convert(value if flag else str(value), option, ctx)
    except click.BadParameter as error:
        raise UserError(f"--config {path}: '{key}': {error.message}", exit_code=2) from error
