"""Tars and zips of class folders, read where they are: nothing is unpacked, so nothing can land elsewhere."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from alexnet_fast.data.places import TarPlace
from alexnet_fast.data.tar_samples import FILE_BYTES_LIMIT, safe_name, tar_members
from alexnet_fast.errors import UserError, packing_reason
from alexnet_fast.preparing.places import NoPlace, Place, ZipPlace
from alexnet_fast.preparing.sources import SourcePicture, arrange, is_picture

_TOO_LARGE = f"more than {FILE_BYTES_LIMIT >> 20} MiB"


def list_tar(path: Path) -> list[SourcePicture]:
    """Lists an uncompressed tar: of class folders, or a WebDataset shard where it has `.cls` members.

    Raises:
        UserError: It is no such archive, or a member's name leads out of it.
    """
    from alexnet_fast.preparing.webdataset_source import is_webdataset, list_webdataset

    if is_webdataset(path):
        return list_webdataset([path])
    return _list_archive(path, ((member.name, _in_tar(path, member)) for member in tar_members(path)))


def list_zip(path: Path) -> list[SourcePicture]:
    """Lists a zip of class folders.

    Raises:
        UserError: It is no zip, or a member's name leads out of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except zipfile.BadZipFile as error:
        raise UserError(f"{path} is not a zip ({error})", "copy it again") from error
    except NotImplementedError as error:
        raise UserError(f"{path} is {packing_reason(error)}", "pack it anew with deflate") from error
    return _list_archive(path, ((member.filename, _in_zip(path, member)) for member in members))


def _list_archive(path: Path, members: Iterator[tuple[str, Place]]) -> list[SourcePicture]:
    """Arranges the pictures of an archive; of two members with one name the later counts, as in unpacking."""
    places = {}
    for name, place in members:
        safe = safe_name(path, name)
        if is_picture(safe) and not any(part.startswith(".") for part in safe.split("/")):
            places[safe] = place
    return arrange(_without_top(places).items())


def _without_top(places: dict[str, Place]) -> dict[str, Place]:
    """Takes away a single folder around everything, which most archives have."""
    tops = {name.partition("/")[0] for name in places}
    if len(tops) != 1 or tops & {"train"} or any(name.count("/") < 2 for name in places):
        return places
    return {name.partition("/")[2]: place for name, place in places.items()}


def _in_tar(path: Path, member: tarfile.TarInfo) -> Place:
    """Returns where a member's bytes are."""
    if member.issym() or member.islnk():
        return NoPlace(str(path), "a link inside an archive")
    if not member.isreg() or member.issparse():
        return NoPlace(str(path), "not a plain file")
    if member.size > FILE_BYTES_LIMIT:
        return NoPlace(str(path), _TOO_LARGE)
    return TarPlace(str(path), member.offset_data, member.size)


def _in_zip(path: Path, member: zipfile.ZipInfo) -> Place:
    """Returns where a member's bytes are."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return NoPlace(str(path), "a link inside an archive")
    if kind not in (0, stat.S_IFREG):
        return NoPlace(str(path), "not a plain file")
    if member.flag_bits & 1:
        return NoPlace(str(path), "encrypted")
    if member.file_size > FILE_BYTES_LIMIT:
        return NoPlace(str(path), _TOO_LARGE)
    return ZipPlace(str(path), member.filename)
