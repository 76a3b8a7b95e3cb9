"""What each prepared image is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath


def output_names(names: Sequence[str], ending: str) -> list[str]:
    """Returns a distinct name for each image: its own, with `ending` in place of its ending.

    Where images differ in nothing but their endings, one that has `ending` already keeps its name and the
    others keep their endings inside: a.jpg and a.png become a.jpg and a.png.jpg. The names depend on the list
    alone.

    Args:
        names: Distinct paths, sorted.
        ending: With its dot.
    """
    plain = [str(PurePosixPath(name).with_suffix(ending)) for name in names]
    count = Counter(plain)
    taken = {new for name, new in zip(names, plain, strict=True) if count[new] == 1 or name == new}
    chosen = []
    for name, new in zip(names, plain, strict=True):
        if count[new] == 1 or name == new:
            chosen.append(new)
            continue
        chosen.append(_free(name, ending, taken))
        taken.add(chosen[-1])
    return chosen


def _free(name: str, ending: str, taken: set[str]) -> str:
    """Returns the first of name.jpg, name-2.jpg, name-3.jpg ... that no other has."""
    new, number = f"{name}{ending}", 1
    while new in taken:
        number += 1
        new = f"{name}-{number}{ending}"
    return new
