"""Images that are left out because a list says so, such as the one that `scan --write-exclude` writes."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from alexnet_fast.data.image_list import ImageList
from alexnet_fast.data.name_lists import read_lines, readings, written_name
from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.special_files import read_given

_log = logging.getLogger("alexnet_fast")

_MOST_NAMED = 3


@dataclasses.dataclass(frozen=True)
class ExcludeList:
    """Names to be left out; which paths they may be: see `name_lists.readings`.

    Args:
        source: The file that they are from.
        names: Its lines.
    """

    source: Path
    names: frozenset[str]

    @classmethod
    def load(cls, path: Path) -> ExcludeList:
        """Reads a list, one path per line.

        Raises:
            UserError: The file cannot be read.
        """
        try:
            content = read_given(path)
        except OSError as error:
            raise UserError(
                f"cannot read --exclude {path}: {system_reason(error)}",
                "give the list that scan --write-exclude wrote",
                exit_code=2,
            ) from error
        return cls(path, frozenset(read_lines(content)))

    def apply(
        self, root: Path, lists: Mapping[str, ImageList], elsewhere: Collection[str] = ()
    ) -> dict[str, ImageList]:
        """Returns lists without those images, and says how many there were.

        Args:
            root: The data set's folder.
            lists: The parts that are listed, by how the names of their images begin in this list:
                "train/", "val/" or whatever the folder is called; "" for everything.
            elsewhere: Beginnings of other parts: names there are neither looked for nor missed.

        Raises:
            UserError: None of the names is there: it is the list of another folder.
        """
        meant = {line: [os.fsencode(name) for name in readings(line, root)] for line in self.names}
        there = _existing({name for names in meant.values() for name in names}, lists)
        # The most literal reading of a line that is there is what it means.
        found = {name for names in meant.values() if (name := next(filter(there.__contains__, names), b""))}
        kept = {}
        for prefix, images in lists.items():
            start = os.fsencode(prefix)
            mine = [os.fsdecode(name[len(start) :]) for name in found if name.startswith(start)]
            kept[prefix] = images.without(mine)
            self._say(root / prefix, len(images) - len(kept[prefix]), len(images))
        others = tuple(map(os.fsencode, elsewhere))
        missed = sorted(
            line
            for line, names in meant.items()
            if found.isdisjoint(names) and not any(name.startswith(others) for name in names if others)
        )
        self._say_missed(root, missed, all_of_them=not found and len(missed) == len(self.names))
        return kept

    def _say(self, where: Path, gone: int, of: int) -> None:
        if gone:
            _log.warning("left out %d of %d images of %s: %s names them", gone, of, where, self.source)

    def _say_missed(self, root: Path, missed: list[str], *, all_of_them: bool) -> None:
        """Says which lines name no image.

        Raises:
            UserError: None of them does.
        """
        if not missed:
            return
        first = ", ".join(map(written_name, missed[:_MOST_NAMED])) + ", ..." * (len(missed) > _MOST_NAMED)
        if all_of_them:
            raise UserError(
                f"--exclude {self.source}: none of its {len(missed)} names is an image of {root}: {first}",
                "give the list that scan --write-exclude wrote for this folder",
            )
        _log.warning("%s names %d images that %s does not have: %s", self.source, len(missed), root, first)


def _existing(wanted: set[bytes], lists: Mapping[str, ImageList]) -> set[bytes]:
    """Returns the names that some list has, each with the beginning of its part."""
    found: set[bytes] = set()
    for prefix, images in lists.items():
        start = os.fsencode(prefix)
        mine = {name[len(start) :] for name in wanted if name.startswith(start)}
        here = mine.intersection(images.names.encoded()) if mine else ()
        found |= {start + name for name in here}
    return found
