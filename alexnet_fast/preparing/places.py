"""Where the bytes of a source picture are: in a file, or inside a tar or zip that is never unpacked."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import NamedTuple

from alexnet_fast.data.tar_samples import FILE_BYTES_LIMIT
from alexnet_fast.pipelines.pillow_image import BadPictureError
from alexnet_fast.scanning.header import read_bytes


class FilePlace(NamedTuple):
    """A file of its own."""

    path: str

    def read(self) -> bytes:
        """Returns the content."""
        return read_bytes(Path(self.path))


class TarPlace(NamedTuple):
    """A stretch of an uncompressed tar."""

    path: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Returns the content."""
        if not self.size:
            raise BadPictureError("empty file")
        with Path(self.path).open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise BadPictureError("the archive ends within it")
        return content


class ZipPlace(NamedTuple):
    """A member of a zip."""

    path: str
    member: str

    def read(self) -> bytes:
        """Returns the content, whatever size the archive claims that it has."""
        try:
            with _open_zip(self.path).open(self.member) as file:
                content = file.read(FILE_BYTES_LIMIT + 1)
        except NotImplementedError as error:
            why = f"packed in a way that is not known here ({str(error).lower()})"
            raise BadPictureError(f"{why}: pack the zip anew with deflate") from error
        if len(content) > FILE_BYTES_LIMIT:
            raise BadPictureError(f"more than {FILE_BYTES_LIMIT >> 20} MiB when unpacked")
        if not content:
            raise BadPictureError("empty file")
        return content


class NoPlace(NamedTuple):
    """A member of an archive that is not read, and why."""

    path: str
    reason: str

    def read(self) -> bytes:
        """Raises BadPictureError."""
        raise BadPictureError(self.reason)


Place = FilePlace | TarPlace | ZipPlace | NoPlace


def stamp(place: Place) -> int:
    """Returns when a place's file was last changed, in seconds; 0 where there is none."""
    try:
        return int(Path(place.path).stat().st_mtime)
    except OSError:
        return 0


@functools.lru_cache(maxsize=4)
def _open_zip(path: str) -> zipfile.ZipFile:
    """Opens an archive once a process: its directory is read whole each time."""
    return zipfile.ZipFile(path)
