"""One image of a source, and the class folders that the names of an archive form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from alexnet_fast.data.find_splits import split_dirs
from alexnet_fast.data.image_list import IMAGE_EXTENSIONS
from alexnet_fast.prepare.locations import Location

SOURCE_EXTENSIONS = IMAGE_EXTENSIONS


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """One image to be prepared.

    Args:
        part: "train", "val" or "test"; empty where the source is not divided.
        label: Name of its class.
        rest: Its path below the class folder, with "/" between the parts.
        location: Where its bytes are.
    """

    part: str
    label: str
    rest: str
    location: Location

    @property
    def name(self) -> str:
        """Its path below the source."""
        return "/".join(filter(None, (self.part, self.label, self.rest)))


def arrange(entries: Iterable[tuple[str, Location]], source: Path = Path("SRC")) -> list[SourceImage]:
    """Finds part and class of each file in the folders above it; files in no class folder are left out.

    Args:
        entries: Path of each file below the source, with "/" between its parts, and its location.
        source: What messages call it.

    Raises:
        UserError: The folders are not those of one data set; see `parts.split_dirs`.
    """
    split = [(PurePosixPath(name).parts, location) for name, location in entries]
    tops = sorted({parts[0] for parts, _ in split if len(parts) > 1})
    deep = {parts[0] for parts, _ in split if len(parts) > 2}
    splits = split_dirs(source, tops, has_images=lambda _: True, has_classes=deep.__contains__)
    part_of = {name: part for part, name in splits.items()}
    found = []
    for parts, location in split:
        below = parts[1:] if splits else parts
        if len(below) > 1:
            part = part_of[parts[0]] if splits else ""
            found.append(SourceImage(part, below[0], "/".join(below[1:]), location))
    return found


def is_image(name: str) -> bool:
    """Tells by its ending whether a file is an image."""
    return PurePosixPath(name).suffix.lower() in SOURCE_EXTENSIONS
