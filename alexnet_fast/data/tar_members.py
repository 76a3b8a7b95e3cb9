"""What stands in a tar, by its headers alone. Nothing is unpacked, so nothing can land elsewhere."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.special_files import check_plain

# A file of this size is no photograph, and reading it would take the memory of its worker.
FILE_BYTES_LIMIT = 512 << 20
TOO_LARGE = f"more than {FILE_BYTES_LIMIT >> 20} MiB"
A_LINK = "a link inside an archive"
A_DIR = "a folder"

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 1 << 20
# What hostile headers make tarfile raise besides its own errors: numbers and texts that are none.
DAMAGED = (tarfile.TarError, EOFError, ValueError, OverflowError)

Warn = Callable[[str], None]


def tar_members(path: Path, warn: Warn = lambda _: None) -> Iterator[tarfile.TarInfo]:
    """Yields everything that a tar holds, folders and links too.

    tarfile ends in silence at the first header that it cannot read. Here a tar is read up to its end mark, or
    refused.

    Args:
        path: The tar.
        warn: Told what is odd about a tar that can be read.

    Raises:
        UserError: The file is no uncompressed tar, is damaged or cut off, or holds something behind its end.
    """
    try:
        check_plain(path)
        with path.open("rb") as content, tarfile.open(fileobj=content, mode="r:") as archive:
            yield from members_of_open(archive, content, str(path), None, warn)
    except DAMAGED as error:
        if "end of data" in str(error) or "truncated" in str(error):
            raise UserError(f"{path} was cut off ({error})", "copy it again") from error
        raise UserError(
            f"{path} is not an uncompressed tar ({error})", "unpack it, or copy it again"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def members_of_open(
    archive: tarfile.TarFile, content: IO[bytes], called: str, stop: int | None, warn: Warn = lambda _: None
) -> Iterator[tarfile.TarInfo]:
    """Yields what an open tar holds; see `tar_members`.

    Args:
        archive: The tar; it reads `content`.
        content: The file.
        called: Its name, for messages.
        stop: Where in the file it ends; None for the file's end.
        warn: Told what is odd about it.

    Raises:
        UserError: As `tar_members`.
    """
    for member in archive:
        if member.size < 0 or (stop is not None and member.offset_data + member.size > stop):
            raise UserError(f"{called} was cut off, or is damaged, in {member.name}", "copy it again")
        yield member
        # tarfile keeps every header that it has seen: a million of them take a gigabyte.
        archive.members = []  # type: ignore[attr-defined, unused-ignore]
    _check_end(content, archive.offset, called, stop, warn)


def safe_name(path: Path, name: str) -> str:
    """Returns a member's name without "." parts.

    Raises:
        UserError: The name is absolute or leads upwards; an archive that tries this is refused whole.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or "\0" in name:
        raise UserError(f"{path} holds {name!r}, a name that leads out of it", "do not trust this archive")
    return "/".join(part for part in parts if part != ".")


def forbidden_kind(member: tarfile.TarInfo) -> str | None:
    """Returns why a member of a tar is not read; None for a plain file."""
    if member.isdir():
        return A_DIR
    if member.issym() or member.islnk():
        return A_LINK
    if not member.isreg() or member.issparse():
        return "not a plain file"
    return TOO_LARGE if member.size > FILE_BYTES_LIMIT else None


def unreadable(path: Path, error: OSError) -> UserError:
    """Returns the error for a file that cannot be read."""
    return UserError(f"cannot read {path}: {system_reason(error)}")


def _check_end(content: IO[bytes], offset: int, called: str, stop: int | None, warn: Warn) -> None:
    """Looks at what follows the last member: the mark of the end, a block of zeros, and nothing behind it.

    Raises:
        UserError: Something else does.
    """
    content.seek(offset)
    left = -1 if stop is None else max(stop - offset, 0)
    block = content.read(_BLOCK if left < 0 else min(left, _BLOCK))
    if not block:
        warn(f"{called} has no mark at its end: it may have been cut off")
        return
    if len(block) < _BLOCK or block.strip(b"\0"):
        raise UserError(
            f"{called} was cut off, or is damaged, at byte {offset}: no member begins there", "copy it again"
        )
    left -= _BLOCK if left > 0 else 0
    while chunk := content.read(_CHUNK if left < 0 else min(left, _CHUNK)):
        left -= len(chunk) if left > 0 else 0
        if chunk.strip(b"\0"):
            if b"ustar" in chunk:
                raise UserError(
                    f"{called} is several tars behind each other: only the first would be read",
                    "unpack them and pack them into one",
                )
            warn(f"{called} has bytes behind its end that belong to no member; they are not read")
            return
