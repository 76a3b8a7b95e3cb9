"""The classes of a data set, in the order of a network's outputs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import read_given


@dataclasses.dataclass(frozen=True)
class ClassMap:
    """Class names; the position of a name is its label.

    Args:
        names: Unique names, index 0 first.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            twice = sorted({name for name in self.names if self.names.count(name) > 1})
            raise UserError(f"class names must be unique; twice: {', '.join(twice)}", "rename one of them")

    @classmethod
    def from_names(cls, names: Iterable[str]) -> ClassMap:
        """Numbers the names in sorted order, so that every machine numbers them alike."""
        return cls(tuple(sorted(set(names))))

    @classmethod
    def load(cls, path: Path) -> ClassMap:
        """Reads what `save` wrote.

        Raises:
            UserError: The file is missing or is not a list of names.
        """
        try:
            names = json.loads(read_given(path))
        except OSError as error:
            raise UserError(f"cannot read the class map {path}: {system_reason(error)}") from error
        except ValueError as error:
            raise UserError(f"{path} is not JSON ({error})", "give the classes.json of a run") from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path} is not a list of class names", "give the classes.json of a run")
        return cls(tuple(names))

    def save(self, path: Path) -> None:
        """Writes the names as a JSON list.

        Raises:
            UserError: They cannot be written.
        """
        text = json.dumps(self.names, indent=1, ensure_ascii=False) + "\n"
        # The bytes of a name that is not UTF-8 become what JSON itself writes for them.
        write_atomically(path, text.encode("utf-8", "backslashreplace"))

    def __len__(self) -> int:
        return len(self.names)


def check_class(name: str, where: str) -> str:
    """Returns a class name that can be a folder's.

    Raises:
        UserError: It cannot.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise UserError(f"{where}: {name!r} cannot be a class", "a class becomes a folder of that name")
    return name
