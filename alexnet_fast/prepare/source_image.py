"""One image of a source, and how its bytes are read: from a file, a tar or a zip."""

from __future__ import annotations

import dataclasses
import functools
import zipfile
from pathlib import Path
from typing import NamedTuple

from alexnet_fast.data.image_list import FileLocation, TarLocation
from alexnet_fast.data.tar_members import FILE_BYTES_LIMIT
from alexnet_fast.errors import packing_reason
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.pipelines.io import read_bytes


class ZipLocation(NamedTuple):
    """A member of a zip.

    Args:
        path: Path of the zip.
        member: Name in the zip.
    """

    path: str
    member: str


class NoLocation(NamedTuple):
    """A member of an archive that is not read.

    Args:
        path: Path of the archive.
        reason: Why the member is not read.
    """

    path: str
    reason: str


Location = FileLocation | TarLocation | ZipLocation | NoLocation


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """One image to be prepared.

    Args:
        split: "train", "val" or "test"; empty if the source is not divided.
        label: Name of its class.
        rest: Path below the class folder, with "/" between its parts.
        location: Location of its bytes.
    """

    split: str
    label: str
    rest: str
    location: Location

    @property
    def name(self) -> str:
        """Its path below the source."""
        return "/".join(filter(None, (self.split, self.label, self.rest)))


def read_location(location: Location) -> bytes:
    """Returns the stored bytes of an image.

    Raises:
        BadImageError: The image cannot or must not be read.
    """
    if isinstance(location, NoLocation):
        raise BadImageError(location.reason)
    if isinstance(location, ZipLocation):
        return _read_member(location)
    return read_bytes(location)


def _read_member(location: ZipLocation) -> bytes:
    """Reads a member of a zip, up to the size limit, whatever size the archive claims."""
    try:
        with _open_zip(location.path).open(location.member) as file:
            content = file.read(FILE_BYTES_LIMIT + 1)
    except NotImplementedError as error:
        raise BadImageError(f"{packing_reason(error)}: pack the zip anew with deflate") from error
    if len(content) > FILE_BYTES_LIMIT:
        raise BadImageError(f"more than {FILE_BYTES_LIMIT >> 20} MiB when unpacked")
    if not content:
        raise BadImageError("empty file")
    return content


def modification_time(location: Location) -> int:
    """Returns when the file of a location was last changed, in seconds; 0 if there is none."""
    try:
        return int(Path(location.path).stat().st_mtime)
    except OSError:
        return 0


@functools.lru_cache(maxsize=4)
def _open_zip(path: str) -> zipfile.ZipFile:
    """Opens an archive once per process: opening reads the whole directory of the zip."""
    return zipfile.ZipFile(path)
