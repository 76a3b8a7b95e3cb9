"""What a folder that `prepare` filled says: its classes in the order of their indices, and its background."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError

SUMMARY = "prepared.json"


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
        return json.loads((root / SUMMARY).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _damaged(root, error) from error


def _damaged(root: Path, error: Exception) -> UserError:
    """Returns the error for a summary that is not one."""
    return UserError(f"{root / SUMMARY} is damaged ({error})", "copy it again")


def in_prepared_order(root: Path, folders: list[str]) -> list[str]:
    """Puts class folders into the order of the summary beside them, or above where they stand in a part.

    A source may number its classes in another order than that of their names; a network's outputs follow it.

    Args:
        root: Folder of the class folders.
        folders: Their names, sorted.
    """
    for place in (root, root.parent):
        classes = prepared_classes(place)
        if classes is not None and sorted(classes) == folders:
            return list(classes)
    return folders
