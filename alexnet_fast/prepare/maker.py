"""The work on one image, done in a worker process."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.pipelines.colours import ColourSums
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.prepare.places import Location, read_place, stamp
from alexnet_fast.prepare.transform import ResizeConfig


class Task(NamedTuple):
    """One image to be made.

    Args:
        place: Where it comes from.
        target: Full path of the prepared file.
        number: Its position in the list of all images.
    """

    place: Location
    target: str
    number: int


class Made(NamedTuple):
    """What is known of a prepared file.

    Args:
        sha256: Of its bytes.
        colours: Of its pixels as they will be decoded.
    """

    sha256: str
    colours: ColourSums


@dataclasses.dataclass(frozen=True)
class ImageWorker:
    """Makes prepared files.

    Args:
        recipe: How.
        work: Folder for unfinished files, on the file system of the targets.
    """

    recipe: ResizeConfig
    work: str

    def __call__(self, order: Task) -> Made:
        """Makes one file, unless an earlier run did.

        A prepared file carries its source's time of change, so that a source that has changed is noticed.

        Raises:
            BadImageError: The source cannot be used.
            UserError: The file cannot be written.
        """
        changed = stamp(order.place)
        target = Path(order.target)
        return self._kept(target, changed) or self._make(order, target, changed)

    def _kept(self, target: Path, changed: int) -> Made | None:
        """Returns what an earlier run has made of this source, if it is whole."""
        try:
            if target.is_symlink() or int(target.stat().st_mtime) != changed:
                return None
            return self._known(target.read_bytes())
        except (OSError, BadImageError, ValueError):
            return None

    def _make(self, order: Task, target: Path, changed: int) -> Made:
        """Makes a file and moves it into its place when it is whole."""
        content = self.recipe.prepare(read_place(order.place))
        made = self._known(content)
        unfinished = Path(self.work, f"{os.getpid()}-{order.number}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(content)
            os.utime(unfinished, (changed, changed))
            unfinished.replace(target)
        except OSError as error:
            raise UserError(
                f"cannot write {target}: {system_reason(error)}", "check the folder and the disk"
            ) from error
        return made

    def _known(self, content: bytes) -> Made:
        """Decodes and adds up a prepared file."""
        colours = ColourSums.of(self.recipe.pixels(content))
        return Made(hashlib.sha256(content).hexdigest(), colours)
