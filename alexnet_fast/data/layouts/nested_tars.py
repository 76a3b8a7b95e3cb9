"""Images in tars, and in tars inside a tar, found by their headers; nothing is unpacked."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.image_names import why_ignored
from alexnet_fast.data.junk import junk_reason
from alexnet_fast.data.places import TarLocation
from alexnet_fast.data.tar_members import (
    A_FOLDER,
    DAMAGED,
    members_of_open,
    refused_kind,
    safe_name,
    tar_members,
)
from alexnet_fast.errors import UserError

_log = logging.getLogger("alexnet_fast")


class InnerTar:
    """A tar that is a member of another; going through it yields name and place of each image.

    Args:
        path: The outer tar.
        name: What the inner one is called, without folders.
        offset: Where it begins in the outer one, in bytes.
        size: Its bytes.
    """

    def __init__(self, path: Path, name: str, offset: int, size: int) -> None:
        self._path, self.name, self._offset, self._size = path, name, offset, size

    def __iter__(self) -> Iterator[tuple[str, TarLocation]]:
        ignored = Ignored()
        with self._path.open("rb") as content:
            content.seek(self._offset)
            for member in self._members(content):
                name = safe_name(self._path, member.name)
                reason = junk_reason(name) or refused_kind(member) or why_ignored(name.rpartition("/")[2])
                if reason is None:
                    yield name, TarLocation(str(self._path), member.offset_data, member.size)
                elif reason != A_FOLDER:
                    ignored.add(name, reason)
        if len(ignored):
            _log.warning("ignored in %s of %s: %s", self.name, self._path, ignored.summary())

    def _members(self, content: IO[bytes]) -> Iterator[tarfile.TarInfo]:
        """Yields the members; their offsets count from the start of the outer tar."""
        called = f"{self.name} in {self._path}"
        try:
            with tarfile.TarFile(fileobj=content) as archive:
                yield from members_of_open(archive, content, called, self._offset + self._size)
        except DAMAGED as error:
            raise UserError(f"{called} is not a tar ({error})", "copy it again") from error


def inner_tars(path: Path) -> list[InnerTar]:
    """Returns the tars in a tar, sorted by name.

    Raises:
        UserError: It is no uncompressed tar, or a name leads out of it.
    """
    found = [
        InnerTar(path, safe_name(path, member.name).rpartition("/")[2], member.offset_data, member.size)
        for member in tar_members(path)
        if member.isreg() and member.name.endswith(".tar")
    ]
    return sorted(found, key=lambda tar: tar.name)


def tar_images(path: Path) -> InnerTar:
    """Returns the images of a tar that stands by itself."""
    return InnerTar(path, path.name, 0, path.stat().st_size)
