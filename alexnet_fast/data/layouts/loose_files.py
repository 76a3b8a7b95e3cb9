"""Image files below a folder."""

from __future__ import annotations

import os
from pathlib import Path

from alexnet_fast.data.entries import Ignored, Walk, is_directory, unreadable
from alexnet_fast.data.image_names import is_image_name, why_not_entered


def loose_images(folder: Path, ignored: Ignored | None = None) -> list[str]:
    """Returns every image below a folder, relative to it and sorted.

    Args:
        folder: The folder.
        ignored: Receives what is not listed.

    Raises:
        UserError: A folder cannot be read.
    """
    return sorted(Walk(folder, ignored=ignored).files(), key=os.fsencode)


def is_loose_image(name: str) -> bool:
    """Tells by its name whether a file is an image that training reads."""
    return is_image_name(name)


def has_loose_images(folder: Path) -> bool:
    """Tells whether an image stands in a folder itself, and no class folder does.

    Raises:
        UserError: The folder cannot be read.
    """
    if not folder.is_dir():
        return False
    plain = False
    try:
        with os.scandir(folder) as entries:
            for seen, entry in enumerate(entries):
                if is_directory(entry):
                    if why_not_entered(entry.name) is None:
                        return False
                    continue
                plain = plain or is_loose_image(entry.name)
                # Folders of loose files hold no folders at all; a million entries need not be looked at.
                if plain and seen > 1000:
                    break
    except OSError as error:
        raise unreadable(folder, error) from error
    return plain
