"""The role of each path argument; a path of another kind is refused, and swapped arguments are named.

A path that is not recognised is left to the command, which knows more.
"""

from __future__ import annotations

import dataclasses
import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from alexnet_fast.cli.path_kinds import Kind, kind_of
from alexnet_fast.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Role:
    """The role of a path argument.

    Args:
        expected: Its description, for use after "give".
        accepts: The kinds that it may have.
        hints: Hints for other kinds, instead of "give" and the description; "{path}" is replaced.
    """

    expected: str
    accepts: frozenset[Kind]
    hints: dict[Kind, str] = dataclasses.field(default_factory=dict)

    def takes(self, kind: Kind) -> bool:
        """Returns whether a path of a kind fits; an unknown one does."""
        return kind in self.accepts or kind is Kind.UNKNOWN


_RUNS = frozenset({Kind.RUN, Kind.EXPORTED_RUN})
_EXPORT_FIRST = "export it first: alexnet-fast export {path}"
MODEL = Role(
    expected="a run folder, a checkpoint, a file of weights, an ONNX file or an engine",
    accepts=_RUNS | {Kind.WEIGHTS, Kind.ONNX, Kind.ENGINE, Kind.MISSING},
    hints={Kind.EXPORT: "give {path}/model.onnx"},
)
NETWORK = Role(
    expected="a run folder, a checkpoint or a file of weights",
    accepts=_RUNS | {Kind.WEIGHTS, Kind.MISSING},
    hints={Kind.ONNX: "give the run or the weights that it was exported from"},
)
RUN = Role(expected="the folder of a run", accepts=_RUNS | {Kind.MISSING, Kind.EMPTY, Kind.EXPORT})
EXPORTED = Role(
    expected="an ONNX file, or a folder with a model.onnx",
    accepts=frozenset({Kind.ONNX, Kind.ENGINE, Kind.EXPORT, Kind.EXPORTED_RUN, Kind.MISSING, Kind.EMPTY}),
    hints={
        Kind.RUN: _EXPORT_FIRST,
        Kind.WEIGHTS: _EXPORT_FIRST,
        Kind.IMAGE: "give an ONNX file; to classify images, use alexnet-fast predict MODEL {path}",
    },
)
DATA = Role(
    expected="a folder of images",
    accepts=frozenset({Kind.DATA, Kind.EMPTY, Kind.MISSING, Kind.ARCHIVE, Kind.TABLE}),
    hints={Kind.IMAGE: "give the folder of images"},
)
TRAINING_DATA = dataclasses.replace(
    DATA,
    hints={
        **DATA.hints,
        **dict.fromkeys(
            _RUNS, "give a folder of images; to resume the run: alexnet-fast train --run {path} --resume"
        ),
        Kind.WEIGHTS: "give a folder of images; to begin with these weights: --weights {path}",
        Kind.CONFIG: "give a folder of images; to take options from a file: --config {path}",
    },
)
SOURCE = dataclasses.replace(DATA, expected="a folder of images, an archive or a table of them")
IMAGE = Role(expected="an image file", accepts=frozenset({Kind.IMAGE, Kind.MISSING}))
IMAGES = Role(
    expected="image files, or folders of images",
    accepts=frozenset({Kind.IMAGE, Kind.DATA, Kind.EMPTY, Kind.MISSING}),
)
OUTPUT = Role(
    expected="a folder to write to",
    accepts=frozenset(Kind) - {Kind.IMAGE, Kind.WEIGHTS, Kind.ONNX, Kind.ENGINE, Kind.ARCHIVE},
)


class PathOf(click.Path):
    """The type of an argument with a role.

    Args:
        role: The role.
        path_type: Type of the value: a path, or a text if it may be an address.
    """

    def __init__(self, role: Role, path_type: type = Path) -> None:
        super().__init__(path_type=path_type)
        self.role = role


def check_paths(context: click.Context) -> None:
    """Checks the kinds of a command's path arguments.

    Raises:
        UserError: An argument is of another kind; the hint gives the right order if there is one.
    """
    arguments = list(_path_arguments(context))
    kinds = [kind_of(path) for _, path in arguments]
    wrong = [
        place for place, (parameter, _) in enumerate(arguments) if not _role(parameter).takes(kinds[place])
    ]
    if not wrong and not _reads_nothing(arguments, kinds):
        return
    order = _right_order(arguments, kinds)
    if order is not None:
        moved = [place for place in range(len(arguments)) if order[place] != place]
        what = " and ".join(f"{arguments[place][1]} is {kinds[place].value}" for place in moved)
        names = " ".join(dict.fromkeys(parameter.human_readable_name for parameter, _ in arguments))
        words = shlex.join(str(arguments[place][1]) for place in order)
        raise UserError(what, f"the order is {names}: {context.command_path} {words}", exit_code=2)
    if wrong:
        parameter, path = arguments[wrong[0]]
        role, kind = _role(parameter), kinds[wrong[0]]
        hint = role.hints.get(kind, f"give {role.expected}").format(path=path)
        raise UserError(f"{parameter.human_readable_name} {path} is {kind.value}", hint, exit_code=2)


def _path_arguments(context: click.Context) -> Iterator[tuple[click.Argument, Path]]:
    """Yields each path argument with its parameter, in order."""
    for parameter in context.command.params:
        if isinstance(parameter, click.Argument) and isinstance(parameter.type, PathOf):
            value: Any = context.params.get(parameter.name or "")
            for path in value if isinstance(value, tuple) else (value,):
                if path is not None:
                    yield parameter, Path(path)


def _role(parameter: click.Argument) -> Role:
    assert isinstance(parameter.type, PathOf)
    return parameter.type.role


def _reads_nothing(arguments: list[tuple[click.Argument, Path]], kinds: list[Kind]) -> bool:
    """Returns whether a command would read from nothing and write to something that exists."""
    nothing = (Kind.MISSING, Kind.EMPTY)
    outputs = [_role(parameter) is OUTPUT for parameter, _ in arguments]
    reads = any(kind in nothing for kind, output in zip(kinds, outputs, strict=True) if not output)
    return reads and any(kind not in nothing for kind, output in zip(kinds, outputs, strict=True) if output)


def _right_order(arguments: list[tuple[click.Argument, Path]], kinds: list[Kind]) -> tuple[int, ...] | None:
    """Returns an order in which every argument certainly fits; None if there is none."""
    roles = [_role(parameter) for parameter, _ in arguments]
    # With many images and a model, only the first and the last may be swapped.
    places = range(len(arguments))
    orders = (
        itertools.permutations(places) if len(arguments) <= 4 else ((len(arguments) - 1, *places[1:-1], 0),)
    )
    for order in orders:
        if order == tuple(places):
            continue
        if all(_is_certain(roles[place], kinds[source]) for place, source in enumerate(order)):
            return tuple(order)
    return None


def _is_certain(role: Role, kind: Kind) -> bool:
    if role is OUTPUT:
        return kind in (Kind.MISSING, Kind.EMPTY)
    return kind in role.accepts and kind not in (Kind.MISSING, Kind.EMPTY)
