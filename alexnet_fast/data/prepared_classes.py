"""The classes of a folder that `prepare` filled, in the order of their indices."""

from __future__ import annotations

import json
from pathlib import Path

from alexnet_fast.errors import UserError

SUMMARY = "prepared.json"


def prepared_classes(root: Path) -> tuple[str, ...] | None:
    """Returns the classes of a folder that `prepare` filled; None for another folder.

    Raises:
        UserError: The summary is damaged.
    """
    try:
        return tuple(json.loads((root / SUMMARY).read_bytes())["classes"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{root / SUMMARY} is damaged ({error})", "copy it again") from error


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
