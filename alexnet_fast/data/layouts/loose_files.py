"""Picture files below a folder."""

from __future__ import annotations

import os
from pathlib import Path

from alexnet_fast.data.picture_list import PICTURE_ENDINGS
from alexnet_fast.errors import UserError, system_reason


def loose_pictures(folder: Path) -> list[str]:
    """Returns every picture below a folder, relative to it and sorted; hidden files are left out.

    Raises:
        UserError: A folder cannot be read.
    """
    found = []
    for here, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(here, folder)
        prefix = "" if below == "." else f"{below}/"
        found += [f"{prefix}{name}" for name in files if is_loose_picture(name)]
    return sorted(found, key=os.fsencode)


def is_loose_picture(name: str) -> bool:
    """Tells by its name whether a file is a picture that training reads."""
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122 - called for every file
    return ending in PICTURE_ENDINGS and not name.startswith(".")


def has_loose_pictures(folder: Path) -> bool:
    """Tells whether a picture stands in a folder itself, and no class folder does."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        plain = False
        for seen, entry in enumerate(entries):
            if entry.is_dir() and not entry.name.startswith("."):
                return False
            plain = plain or is_loose_picture(entry.name)
            # Folders of loose files hold no folders at all; a million entries need not be looked at.
            if plain and seen > 1000:
                break
    return plain


def _refuse(error: OSError) -> None:
    """Raises what `os.walk` would pass over."""
    raise UserError(
        f"cannot read {error.filename}: {system_reason(error)}", "check its permissions"
    ) from error
