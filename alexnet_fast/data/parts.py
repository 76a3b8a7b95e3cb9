"""What stands where in a data set's folder: class folders or tars, whole or in train/, val/ and test/."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from alexnet_fast.data.class_folders import ClassFolders, class_folders
from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.data.layouts.find import Reading, find_layout
from alexnet_fast.data.picture_list import PictureList
from alexnet_fast.data.shard_fields import ShardFields
from alexnet_fast.data.shard_files import by_part, shards_in, warn_of_gaps
from alexnet_fast.data.shards import Shards
from alexnet_fast.data.split_names import PARTS
from alexnet_fast.errors import UserError

# Hidden, so that nothing lists it as a class; `prepare` has it in its output from first to last.
UNFINISHED = ".preparing"


class Contents(Protocol):
    """Labelled pictures of one folder, in whatever form."""

    @property
    def root(self) -> Path:
        """The folder."""

    def class_names(self) -> list[str]:
        """Returns the names of the classes, in the order of their indices."""

    def strangers(self, classes: ClassMap) -> list[str]:
        """Returns the classes that a class map does not have."""

    def pictures(self, classes: ClassMap) -> PictureList:
        """Lists the pictures, numbered by a class map."""


def find_parts(root: Path, wanted: str = "train", reading: Reading | None = None) -> dict[str, Contents]:
    """Finds the parts of a data set; nothing is listed yet.

    Args:
        root: Its folder.
        wanted: "train", "val", "test", or "all" for everything as one part.
        reading: What is said of its layout.

    Returns:
        Contents by part: "train", "val" and "test", those that are there, or "all".

    Raises:
        UserError: The folder cannot be read, or `prepare` has not finished it.
    """
    if str(root).startswith(("https:/", "http:/")):
        raise UserError(
            f"{root} is an address, no folder", "alexnet-fast prepare URL OUT fetches it", exit_code=2
        )
    folders = class_folders(root)
    if (root / UNFINISHED).exists():
        raise UserError(
            f"prepare has not finished {root}", "run it again; after the last --part, prepare --join"
        )
    reading = reading or Reading()
    layout = find_layout(root, reading) if wanted != "all" else None
    if layout is not None:
        return dict(layout.parts)
    if wanted != "all" and ("train" in folders or wanted in folders):
        return {part: _contents(root / part, reading.fields) for part in PARTS if part in folders}
    tars = [] if folders else shards_in(root)
    if tars and wanted != "all":
        return {part: Shards(root, mine, reading.fields) for part, mine in by_part(root, tars).items()}
    return {"all": Shards(root, tuple(tars), reading.fields) if tars else ClassFolders(root)}


def refuse_strangers(contents: Contents, classes: ClassMap) -> None:
    """Refuses classes that the class map does not have: their pictures would be left out in silence."""
    strangers = contents.strangers(classes)
    if strangers:
        raise UserError(
            f"{contents.root} has classes that the {len(classes)} known ones do not include:"
            f" {some(strangers)}",
            "rename or remove those folders",
        )


def some(names: list[str], most: int = 5) -> str:
    """Returns the first few names and how many there are beyond them."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _contents(root: Path, fields: ShardFields) -> Contents:
    """Returns the contents of one folder."""
    tars = [] if class_folders(root) else shards_in(root)
    if not tars:
        return ClassFolders(root)
    warn_of_gaps(tars)
    return Shards(root, tuple(tars), fields)
