"""Archives of class folders, read where they are: nothing is unpacked, so nothing can land elsewhere."""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.find_splits import split_dirs
from alexnet_fast.data.image_names import junk_reason, why_ignored
from alexnet_fast.data.tar_members import (
    A_LINK,
    FILE_BYTES_LIMIT,
    TOO_LARGE,
    safe_name,
    unreadable,
)
from alexnet_fast.errors import UserError, packing_reason
from alexnet_fast.prepare.source_image import Location, NoLocation, SourceImage, ZipLocation

_REPLACED = "replaced by a later member of the same name"
_NO_CLASS = "in no class folder"
# Set where a name is UTF-8; else it is in the code page of who packed it (APPNOTE 4.4.4, bit 11).
_UTF8_FLAG = 1 << 11


def list_zip(path: Path, ignored: Ignored) -> list[SourceImage]:
    """Lists a zip of class folders.

    Args:
        path: The zip.
        ignored: Receives the members that are not used.

    Raises:
        UserError: The file is no zip, or a member's name leads out of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except (zipfile.BadZipFile, EOFError, ValueError, struct.error) as error:
        raise UserError(f"{path} is not a zip ({error})", "copy it again") from error
    except NotImplementedError as error:
        raise UserError(f"{path} is {packing_reason(error)}", "pack it anew with deflate") from error
    except OSError as error:
        raise unreadable(path, error) from error
    return list_archive(path, ((_zip_name(member), _in_zip(path, member)) for member in members), ignored)


def list_archive(path: Path, members: Iterator[tuple[str, Location]], ignored: Ignored) -> list[SourceImage]:
    """Arranges the images of an archive; of two members with one name the later counts, as in unpacking."""
    locations: dict[str, Location] = {}
    for name, location in members:
        safe = safe_name(path, name)
        reason = junk_reason(safe) or why_ignored(safe.rpartition("/")[2])
        if reason is not None:
            ignored.add(safe, reason)
            continue
        if safe in locations:
            ignored.add(safe, _REPLACED)
        locations[safe] = location
    arranged = arrange(_without_top(locations).items(), path)
    used = {id(image.location) for image in arranged}
    for name, location in locations.items():
        if id(location) not in used:
            ignored.add(name, _NO_CLASS)
    return arranged


def arrange(entries: Iterable[tuple[str, Location]], source: Path = Path("SRC")) -> list[SourceImage]:
    """Finds split and class of each file in the folders above it; files in no class folder are left out.

    Args:
        entries: Path of each file below the source, with "/" between its parts, and its location.
        source: Path of the source, for messages.

    Raises:
        UserError: The folders are not those of one data set; see `split_dirs`.
    """
    paths = [(PurePosixPath(name).parts, location) for name, location in entries]
    tops = sorted({parts[0] for parts, _ in paths if len(parts) > 1})
    deep = {parts[0] for parts, _ in paths if len(parts) > 2}
    directories = split_dirs(source, tops, has_images=lambda _: True, has_classes=deep.__contains__)
    splits = {name: split for split, name in directories.items()}
    images = []
    for parts, location in paths:
        split, below = (splits[parts[0]], parts[1:]) if len(parts) > 1 and splits else ("", parts)
        if len(below) > 1:
            images.append(SourceImage(split, below[0], "/".join(below[1:]), location))
    return images


def _zip_name(member: zipfile.ZipInfo) -> str:
    """Returns a member's name; many programs write UTF-8 without saying so."""
    if member.flag_bits & _UTF8_FLAG:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _without_top(locations: dict[str, Location]) -> dict[str, Location]:
    """Takes away a single folder around everything, which most archives have, also if it is called train."""
    tops = {name.partition("/")[0] for name in locations}
    if len(tops) != 1 or any(name.count("/") < 2 for name in locations):
        return locations
    return {name.partition("/")[2]: location for name, location in locations.items()}


def _in_zip(path: Path, member: zipfile.ZipInfo) -> Location:
    """Returns where a member's bytes are."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return NoLocation(str(path), A_LINK)
    if kind not in (0, stat.S_IFREG):
        return NoLocation(str(path), "not a plain file")
    if member.flag_bits & 1:
        return NoLocation(str(path), "encrypted")
    if member.file_size > FILE_BYTES_LIMIT:
        return NoLocation(str(path), TOO_LARGE)
    return ZipLocation(str(path), member.filename)
