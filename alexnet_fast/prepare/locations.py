"""Where the images of a source are: in files, tars, zips, or nowhere that can be read."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import NamedTuple

from alexnet_fast.data.image_list import FileLocation, TarLocation
from alexnet_fast.data.tar_members import FILE_BYTES_LIMIT
from alexnet_fast.errors import packing_reason
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.pipelines.io import read_bytes as read_stretch
from alexnet_fast.scan.inspect import read_bytes


class ZipLocation(NamedTuple):
    """A member of a zip.

    Args:
        path: Of the zip.
        member: Its name there.
    """

    path: str
    member: str


class NoLocation(NamedTuple):
    """A member of an archive that is not read.

    Args:
        path: Of the archive.
        reason: Why not.
    """

    path: str
    reason: str


Location = FileLocation | TarLocation | ZipLocation | NoLocation


def read_location(location: Location) -> bytes:
    """Returns an image as it is stored.

    Raises:
        BadImageError: It cannot be read, or is not to be.
    """
    if isinstance(location, NoLocation):
        raise BadImageError(location.reason)
    if isinstance(location, ZipLocation):
        return _read_member(location)
    return read_bytes(Path(location.path)) if isinstance(location, FileLocation) else read_stretch(location)


def _read_member(location: ZipLocation) -> bytes:
    """Reads out of a zip, whatever size the archive claims that a member has."""
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


def stamp(location: Location) -> int:
    """Returns when a place's file was last changed, in seconds; 0 where there is none."""
    try:
        return int(Path(location.path).stat().st_mtime)
    except OSError:
        return 0


@functools.lru_cache(maxsize=4)
def _open_zip(path: str) -> zipfile.ZipFile:
    """Opens an archive once a process: its directory is read whole each time."""
    return zipfile.ZipFile(path)
