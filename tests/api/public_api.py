"""The public interface as sorted lines: what may be imported from the modules of `MODULES`, and the commands.

    python tests/api/public_api.py            writes public_api.txt, and prints what CHANGELOG.md has to say
    python tests/api/public_api.py released   makes the list the released one, when a version is tagged

Two lists are kept: `public_api.txt`, which the code must agree with, and `released_api.txt`, as it was in the
last release. Whatever differs between them must stand, line by line, in the section "API" under Unreleased.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli.main import commands

HERE = Path(__file__).parent
LISTED, RELEASED = HERE / "public_api.txt", HERE / "released_api.txt"
CHANGELOG = HERE.parents[1] / "CHANGELOG.md"

# What docs/ imports from. A module without `__all__` gives the names after the colon.
MODULES = (
    "alexnet_fast",
    "alexnet_fast.models",
    "alexnet_fast.pipelines",
    "alexnet_fast.export.torch_export:export_ten_crop",
    "alexnet_fast.errors:UserError,UnavailableError",
    "alexnet_fast.estimator:FitHistory",
    "alexnet_fast.runtime.prediction:Prediction",
)
# What a class is used by, beside its named members.
_PROTOCOLS = ("__call__", "__getitem__", "__iter__", "__len__")
_NONE_YET = "nothing"


def listed_api() -> list[str]:
    """Returns the interface as it is now."""
    lines = {line for entry in MODULES for line in _module_lines(entry)}
    return sorted(lines) + sorted(_command_lines(commands, "alexnet-fast"))


def _module_lines(entry: str) -> Iterator[str]:
    """Yields the lines of one entry of `MODULES`."""
    path, _, names = entry.partition(":")
    module = importlib.import_module(path)
    for name in names.split(",") if names else module.__all__:
        yield from _object_lines(f"{path}.{name}", getattr(module, name))


def _object_lines(name: str, thing: Any) -> Iterator[str]:
    """Yields a function, a class with its public members, or a constant with its type."""
    if inspect.isclass(thing):
        yield f"class {name}{_signature(thing)}"
        for member in sorted(vars(thing)):
            if member in _PROTOCOLS or not member.startswith("_"):
                yield from _member_lines(f"{name}.{member}", inspect.getattr_static(thing, member))
    elif inspect.isfunction(thing):
        yield f"{name}{_signature(thing)}"
    elif typing.get_origin(thing) is not None:
        yield f"{name} = {thing}"
    else:
        yield f"{name}: {type(thing).__name__}"


def _member_lines(name: str, member: Any) -> Iterator[str]:
    """Yields a method or a property; fields stand in the signature of their class."""
    if isinstance(member, (classmethod, staticmethod)):
        yield f"{name}{_signature(member.__func__)}"
    elif isinstance(member, property):
        yield (
            f"{name} -> {_written(inspect.signature(member.fget).return_annotation)}" if member.fget else name
        )
    elif inspect.isfunction(member):
        yield f"{name}{_signature(member)}"


def _signature(thing: Any) -> str:
    """Returns the parameters and types as they are written in the source."""
    signature = inspect.signature(thing)
    parameters = [_plain(parameter) for parameter in signature.parameters.values()]
    returned = _written(signature.return_annotation)
    return str(signature.replace(parameters=parameters, return_annotation=returned))


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Returns a parameter whose default says nothing of addresses, and no whole dataclass."""
    default, kind = parameter.default, type(parameter.default)
    if dataclasses.is_dataclass(kind):
        default = _Shown(f"{kind.__name__}(...)")
    return parameter.replace(default=default, annotation=_written(parameter.annotation))


def _written(annotation: Any) -> Any:
    """Returns an annotation that is shown without the quotes of a postponed one."""
    return _Shown(annotation.strip("'\"")) if isinstance(annotation, str) else annotation


class _Shown:
    """Something that is shown as it is given."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _command_lines(command: click.Command, path: str) -> Iterator[str]:
    """Yields a line for each argument and option of a command and of those below it."""
    yield path
    for parameter in command.params:
        names = "/".join([*parameter.opts, *parameter.secondary_opts])
        yield f"{path} {names} {_type_name(parameter)}".rstrip()
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _command_lines(below, f"{path} {name}")


def _type_name(parameter: click.Parameter) -> str:
    """Returns what a value may be; nothing for a flag."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return ""
    kind = parameter.type
    name = "|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else kind.name.upper()
    return f"{name}..." if parameter.multiple or parameter.nargs == -1 else name


def read_list(file: Path) -> list[str]:
    """Reads a kept list without its heading."""
    return [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def released_version(file: Path = RELEASED) -> str:
    """Returns the version that the released list is of."""
    return file.read_text(encoding="utf-8").splitlines()[0].rpartition(" ")[2]


def last_release(changelog: str) -> str:
    """Returns the newest version that the changelog has a section for."""
    found = re.search(r"^## \[?v?(\d[^\s\]]*)", changelog, re.MULTILINE)
    return found[1] if found else _NONE_YET


def unsaid(released: list[str], now: list[str], changelog: str) -> list[str]:
    """Returns what the section "API" under Unreleased has to say and does not.

    Args:
        released: The interface at the last release.
        now: As it is.
        changelog: The whole text.

    Returns:
        Lines for it: "- added `...`" and "- removed `...`"; a change is both.
    """
    wanted = [f"- removed `{line}`" for line in released if line not in set(now)]
    wanted += [f"- added `{line}`" for line in now if line not in set(released)]
    said = set(_api_section(changelog))
    return [line for line in wanted if line not in said]


def untrue(released: list[str], now: list[str], changelog: str) -> list[str]:
    """Returns what the section says and what is not so."""
    removed, added = set(released) - set(now), set(now) - set(released)
    true = {f"- removed `{line}`" for line in removed} | {f"- added `{line}`" for line in added}
    return [line for line in _api_section(changelog) if line.startswith("- ") and line not in true]


def _api_section(changelog: str) -> list[str]:
    """Returns the lines of "### API" under "## Unreleased"."""
    unreleased = re.search(r"^## Unreleased\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    section = re.search(r"^### API\n(.*?)(?=^### |\Z)", unreleased[1] if unreleased else "", re.M | re.S)
    return section[1].splitlines() if section else []


def _write(file: Path, heading: str, lines: list[str]) -> None:
    file.write_text("\n".join([heading, *lines]) + "\n", encoding="utf-8")


def main() -> None:
    """Writes the list, or the released one."""
    now, changelog = listed_api(), CHANGELOG.read_text(encoding="utf-8")
    _write(LISTED, "# Written by `make api`: what may be imported, and the command line.", now)
    if sys.argv[1:] == ["released"]:
        _write(RELEASED, f"# The interface in the last release: {last_release(changelog)}", now)
    released = read_list(RELEASED)
    said = unsaid(released, now, changelog)
    print(
        "\n".join(["CHANGELOG.md has to say under Unreleased, in a section ### API:", *said] if said else [])
    )
    wrong = untrue(released, now, changelog)
    print("\n".join(["and may no longer say there:", *wrong] if wrong else []))


if __name__ == "__main__":
    main()
