"""The names under which data sets have their training, validation and test images, in any case."""

from __future__ import annotations

import re
from collections.abc import Iterable

PARTS = ("train", "val", "test")

_WORDS = {
    "train": "train|training|trn",
    "val": "val|valid|validation|dev",
    "test": "test|testing|tst",
}
_NAMES = {
    part: re.compile(rf"({words})([ _.-]?(set|split|data|images))?", re.IGNORECASE)
    for part, words in _WORDS.items()
}


def split_of(name: str) -> str:
    """Returns the part that a directory of this name stands for: "train", "val", "test", or "" for none."""
    return next((part for part, names in _NAMES.items() if names.fullmatch(name)), "")


def named_splits(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the directories of each part that has one, by part, in the order of `PARTS`."""
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    for name in names:
        part = split_of(name)
        if part:
            found[part].append(name)
    return {part: mine for part, mine in found.items() if mine}
