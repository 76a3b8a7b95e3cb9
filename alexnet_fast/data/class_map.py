"""The classes of a data set, in the order of a network's outputs."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import read_given

SUMMARY = "prepared.json"
# 2: the options have the names of the command line.
SUMMARY_FORMAT = 2


def prepared_classes(root: Path) -> tuple[str, ...] | None:
    """Returns the classes of a folder that `prepare` filled; None for another folder.

    Raises:
        UserError: The summary is damaged.
    """
    summary = _summary(root)
    try:
        return None if summary is None else tuple(summary["classes"])
    except (KeyError, TypeError) as error:
        raise _damaged(root, error) from error


def prepared_background(root: Path) -> str | None:
    """Returns what was laid under transparent images in a folder that `prepare` filled, as `#rrggbb`.

    Returns:
        None for another folder, and for one that a version before this option filled.

    Raises:
        UserError: The summary is damaged.
    """
    summary = _summary(root)
    try:
        return None if summary is None else summary.get("options", {}).get("background")
    except AttributeError as error:
        raise _damaged(root, error) from error


def _summary(root: Path) -> Any:
    """Reads the summary, if there is one."""
    try:
        summary = json.loads((root / SUMMARY).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _damaged(root, error) from error
    # Format 1 did not have the key.
    if isinstance(summary, dict) and (written := summary.get("format", 1)) != SUMMARY_FORMAT:
        raise UserError(
            f"{root / SUMMARY} has format {written}; this version reads {SUMMARY_FORMAT}",
            "run alexnet-fast prepare again, into another directory",
        )
    return summary


def _damaged(root: Path, error: Exception) -> UserError:
    """Returns the error for a summary that is not one."""
    return UserError(f"{root / SUMMARY} is damaged ({error})", "copy it again")


def in_prepared_order(root: Path, directories: list[str]) -> list[str]:
    """Puts class folders into the order of the summary beside them, or above where they stand in a part.

    A source may number its classes in another order than that of their names; a network's outputs follow it.

    Args:
        root: Folder of the class folders.
        directories: Their names, sorted.
    """
    for place in (root, root.parent):
        classes = prepared_classes(place)
        if classes is not None and sorted(classes) == directories:
            return list(classes)
    return directories


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
            UserError: The file cannot be written.
        """
        text = json.dumps(self.names, indent=1, ensure_ascii=False) + "\n"
        # The bytes of a name that is not UTF-8 become what JSON itself writes for them.
        write_atomically(path, text.encode("utf-8", "backslashreplace"))

    def __len__(self) -> int:
        return len(self.names)


def check_class(name: str, where: str) -> str:
    """Returns a class name that can be a folder's.

    Raises:
        UserError: The name cannot be a folder's.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise UserError(f"{where}: {name!r} cannot be a class", "a class becomes a folder of that name")
    return name
