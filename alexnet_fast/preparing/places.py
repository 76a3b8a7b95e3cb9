"""Where the bytes of a source image are: in a file, or inside a tar or zip that is never unpacked."""

from __future__ import annotations

import functools
import zipfile
from pathlib import Path
from typing import NamedTuple

from alexnet_fast.data.places import FilePlace, TarPlace
from alexnet_fast.data.tar_members import FILE_BYTES_LIMIT
from alexnet_fast.errors import packing_reason
from alexnet_fast.pipelines.pillow_image import BadImageError
from alexnet_fast.pipelines.place_bytes import read_bytes as read_stretch
from alexnet_fast.scanning.header import read_bytes


class ZipPlace(NamedTuple):
    """A member of a zip.

    Args:
        path: Of the zip.
        member: Its name there.
    """

    path: str
    member: str


class NoPlace(NamedTuple):
    """A member of an archive that is not read.

    Args:
        path: Of the archive.
        reason: Why not.
    """

    path: str
    reason: str


Place = FilePlace | TarPlace | ZipPlace | NoPlace


def read_place(place: Place) -> bytes:
    """Returns an image as it is stored.

    Raises:
        BadImageError: It cannot be read, or is not to be.
    """
    if isinstance(place, NoPlace):
        raise BadImageError(place.reason)
    if isinstance(place, ZipPlace):
        return _read_member(place)
    return read_bytes(Path(place.path)) if isinstance(place, FilePlace) else read_stretch(place)


def _read_member(place: ZipPlace) -> bytes:
    """Reads out of a zip, whatever size the archive claims that a member has."""
    try:
        with _open_zip(place.path).open(place.member) as file:
            content = file.read(FILE_BYTES_LIMIT + 1)
    except NotImplementedError as error:
        raise BadImageError(f"{packing_reason(error)}: pack the zip anew with deflate") from error
    if len(content) > FILE_BYTES_LIMIT:
        raise BadImageError(f"more than {FILE_BYTES_LIMIT >> 20} MiB when unpacked")
    if not content:
        raise BadImageError("empty file")
    return content


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
