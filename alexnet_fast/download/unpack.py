"""Unpacking an archive that nobody has vouched for: plain files alone, inside one folder, within a limit.

The rules are those of Python's own filter for tars (PEP 706), but for links: those are refused, also inside.
"""

from __future__ import annotations

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from alexnet_fast.data.tar_members import safe_name
from alexnet_fast.errors import UserError, packing_reason, system_reason
from alexnet_fast.utils.cache_dir import ROOM

_CHUNK = 1 << 20
# ILSVRC-2012 has 1.4 million; an archive of empty files would fill a disk's table of files otherwise.
_MOST_FILES = 5_000_000

# First bytes: gzip, xz, bzip2; a tar has its mark at 257.
_PACKED = (b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh")


# What the readers of archives and of their packing raise for content that cannot be taken apart.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError)


class _Member(NamedTuple):
    """A plain file in an archive.

    Args:
        name: As it stands there.
        content: Its bytes, to be read once and before the next member.
    """

    name: str
    content: IO[bytes]


def unpack(archive: Path, directory: Path, *, limit: int, called: str) -> int:
    """Unpacks a zip or a tar, packed or not, told by its content.

    Args:
        archive: The file.
        directory: An empty folder.
        limit: Maximum bytes of all files together.
        called: Name of the archive, for messages.

    Returns:
        The number of files.

    Raises:
        UserError: The file is no archive, is damaged, or holds something that may not be unpacked.
    """
    members = _zip_members if zipfile.is_zipfile(archive) else _tar_members
    if members is _tar_members and not _looks_like_tar(archive):
        raise UserError(
            f"{called} is no archive", "it must be a .zip, or a .tar that may be .gz, .xz or .bz2"
        )
    files = 0
    try:
        for member in members(archive, called):
            files += 1
            if files > _MOST_FILES:
                raise UserError(f"{called} holds more than {_MOST_FILES:,} files", "unpack it yourself")
            limit -= _write(member, directory / safe_name(Path(called), member.name), limit, called)
    except NotImplementedError as error:
        raise UserError(f"{called} is {packing_reason(error)}", "pack it anew with deflate") from error
    except _DAMAGED as error:
        raise _damaged(called, error) from error
    except OSError as error:
        if error.errno is None:
            # What bz2 raises is no error of the system.
            raise _damaged(called, error) from error
        reason = system_reason(error)
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
            raise UserError(f"{called} holds a name that cannot be unpacked ({reason})", "") from error
        raise UserError(f"cannot unpack {called} into {directory}: {reason}", ROOM) from error
    if not files:
        raise UserError(f"{called} holds no files", "check the address")
    return files


def _damaged(called: str, error: Exception) -> UserError:
    """Returns the error for an archive that cannot be read."""
    return UserError(f"{called} is no archive, or a damaged one ({error})", "fetch it again")


def _looks_like_tar(archive: Path) -> bool:
    """Returns, by the first bytes, whether a file can be a tar."""
    with archive.open("rb") as file:
        start = file.read(512)
    return start.startswith(_PACKED) or start[257:262] == b"ustar"


def _write(member: _Member, path: Path, limit: int, called: str) -> int:
    """Writes one file that is not there yet; returns its bytes.

    Raises:
        UserError: There are more than `limit`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    done = 0
    with path.open("xb") as out:
        while chunk := member.content.read(_CHUNK):
            done += len(chunk)
            if done > limit:
                raise UserError(
                    f"{called} holds more than the limit",
                    "give a larger --max-download if you trust it",
                )
            out.write(chunk)
    return done


def _tar_members(archive: Path, called: str) -> Iterator[_Member]:
    """Yields the files of a tar.

    Raises:
        UserError: The archive holds a link or a device.
    """
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            if member.isdir():
                safe_name(Path(called), member.name)
                continue
            content = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if content is None:
                raise UserError(f"{called} holds {member.name!r}, no plain file", "do not trust this archive")
            yield _Member(member.name, content)


def _zip_members(archive: Path, called: str) -> Iterator[_Member]:
    """Yields the files of a zip.

    Raises:
        UserError: The archive holds a link or a device, or is encrypted.
    """
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            if member.is_dir():
                safe_name(Path(called), member.filename)
                continue
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
                raise UserError(
                    f"{called} holds {member.filename!r}, no plain file", "do not trust this archive"
                )
            if member.flag_bits & 1:
                raise UserError(f"{called} is encrypted", "unpack it yourself")
            with zipped.open(member) as content:
                yield _Member(member.filename, content)
