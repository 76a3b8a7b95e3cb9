"""What ImageNet's classes are called: WordNet number and words, in one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.layouts.base import WNID, read_lines
from alexnet_fast.errors import UserError


def read_words(path: Path) -> dict[str, str]:
    """Reads lines of a WordNet number, a tab or space, and words: words.txt, synset_words.txt and the like.

    Raises:
        UserError: A line is something else.
    """
    words = {}
    for number, line in enumerate(read_lines(path), 1):
        wnid, _, rest = line.strip().replace("\t", " ", 1).partition(" ")
        if not WNID.fullmatch(wnid):
            raise UserError(
                f"{path} line {number}: {wnid!r} is no WordNet number", "each line is n01443537 goldfish"
            )
        words[wnid] = rest.strip()
    return words


def class_names(wnids: Iterable[str], words: Mapping[str, str], where: Path) -> dict[str, str]:
    """Returns the class name of each WordNet number: "n01443537 goldfish, Carassius auratus".

    The number stands in front because words alone are not unique (ILSVRC-2012 has two kinds of crane), and
    because sorted numbers are the order that ImageNet's networks have their outputs in.

    Args:
        wnids: WordNet numbers.
        words: Of some of them.
        where: The data set, for messages.

    Raises:
        UserError: A name could not be a folder's.
    """
    # A folder cannot have a slash in its name.
    called = {wnid: f"{wnid} {words.get(wnid, '')}".strip().replace("/", " or ") for wnid in wnids}
    return {wnid: check_class(name, str(where)) for wnid, name in called.items()}
