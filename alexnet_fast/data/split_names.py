"""The names under which data sets have their training, validation and test images, in any case."""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORDS = {
    "train": "train|training|trn",
    "val": "val|valid|validation|dev",
    "test": "test|testing|tst",
}
SPLITS = tuple(_WORDS)
_NAMES = {
    split: re.compile(rf"({words})([ _.-]?(set|split|data|images))?", re.IGNORECASE)
    for split, words in _WORDS.items()
}


def split_of(name: str) -> str:
    """Returns the split that a directory of this name holds: "train", "val", "test", or "" for none."""
    return next((split for split, names in _NAMES.items() if names.fullmatch(name)), "")


def named_splits(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the directories of each split that has one, by split, in the order of `SPLITS`."""
    directories: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        split = split_of(name)
        if split:
            directories[split].append(name)
    return {split: names for split, names in directories.items() if names}
