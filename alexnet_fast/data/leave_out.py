"""Pictures that are left out because a list says so, such as the one that `scan --write-list` writes."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

from alexnet_fast.data.picture_list import PictureList
from alexnet_fast.errors import UserError, system_reason

_log = logging.getLogger("alexnet_fast")


@dataclasses.dataclass(frozen=True)
class LeaveOut:
    """Names to be left out, relative to the data set's folder.

    Args:
        source: The file that they are from.
        names: With "/" between the parts.
    """

    source: Path
    names: frozenset[str]

    @classmethod
    def load(cls, path: Path) -> LeaveOut:
        """Reads a list, one path a line.

        Raises:
            UserError: It cannot be read.
        """
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise UserError(
                f"cannot read --leave-out {path}: {system_reason(error)}",
                "give the list that scan --write-list wrote",
                exit_code=2,
            ) from error
        return cls(path, frozenset(os.fsdecode(line) for line in lines if line.strip()))

    def apply(self, root: Path, part: str, pictures: PictureList) -> PictureList:
        """Returns a list without those pictures, and says how many there were.

        Args:
            root: The data set's folder.
            part: "train", "val" or "test": their names in this list begin so; or "all".
            pictures: The list of that part.

        Raises:
            UserError: None of the names is there: it is the list of another folder.
        """
        prefix = "" if part == "all" else f"{part}/"
        mine = {name[len(prefix) :] for name in self.names if name.startswith(prefix)}
        kept = pictures.without(mine)
        found = len(pictures) - len(kept)
        if mine and not found:
            raise UserError(
                f"--leave-out {self.source}: none of its {len(mine)} names is a picture of {root / prefix}",
                "give the list that scan --write-list wrote for this folder",
            )
        if found < len(mine):
            _log.warning("%s names %d pictures that %s does not have", self.source, len(mine) - found, root)
        if found:
            _log.warning(
                "left out %d of %d pictures of %s: %s names them",
                found,
                len(pictures),
                root / prefix,
                self.source,
            )
        return kept
