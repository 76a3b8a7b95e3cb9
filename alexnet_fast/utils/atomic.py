"""Files that are either whole or not there; what is no plain file is written to, never replaced."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.interrupts import gone_at_the_end
from alexnet_fast.utils.special_files import check_access, opened_as_it_is, plain_target


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that takes the place of `path` when the block ends well, and is removed when it does not.

    It is written beside `path`, flushed to the disk, then renamed: whoever reads `path`, even after a power
    cut, finds the old content or the new. A file that was there keeps its mode. Behind a link it is the
    link's target that is written; a device, a pipe or /dev/stdout gets the content when the block ends.

    Raises:
        UserError: It cannot be written, is marked as read-only, or is a folder, a socket or a disk.
    """
    try:
        target = plain_target(path)
        with _into(path) if target is None else _beside(target) as file:
            yield file
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {system_reason(error)}", "check the folder and the disk"
        ) from error


def check_writable(path: Path) -> None:
    """Finds out before long work whether its result will have a place; nothing is written.

    Raises:
        UserError: It will not: see `atomic_file`.
    """
    try:
        target = plain_target(path)
        if target is not None:
            if not target.parent.is_dir():
                raise OSError(errno.ENOENT, "there is no such folder", str(path))
            check_access(target.parent)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {system_reason(error)}", "check the folder and the disk"
        ) from error


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[IO[bytes]]:
    """Opens a file beside its place, and moves it there."""
    # Short: the name of the place may have the greatest length that there is.
    temporary = target.with_name(f".{target.name[:40]}.{os.urandom(6).hex()}.partial")
    with gone_at_the_end(temporary):
        try:
            with os.fdopen(os.open(temporary, _NEW, 0o600), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _take_over_mode(temporary, target)
            temporary.replace(target)
        except BaseException:
            _remove(temporary)
            raise
    _sync_dir(target.parent)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@contextlib.contextmanager
def _into(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file whose content is written to a device or a pipe when it is whole."""
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        with opened_as_it_is(path) as out:
            shutil.copyfileobj(file, out)


def _take_over_mode(temporary: Path, target: Path) -> None:
    """Makes a new file as readable as the one that it replaces, or as any other."""
    try:
        before = target.stat()
    except FileNotFoundError:
        temporary.chmod(0o666 & ~_umask())
        return
    mine = temporary.stat()
    if (before.st_uid, before.st_gid) != (mine.st_uid, mine.st_gid):
        with contextlib.suppress(PermissionError):
            os.chown(temporary, before.st_uid, before.st_gid)
    temporary.chmod(stat.S_IMODE(before.st_mode) & 0o777)


def write_atomically(path: Path, content: bytes | memoryview) -> None:
    """Writes a whole file; see `atomic_file`."""
    with atomic_file(path) as file:
        file.write(content)


def link_atomically(source: Path, path: Path) -> None:
    """Lets `path` name the content of `source`; it is written again only where there are no hard links.

    Both are replaced, never changed in place, so neither can alter the other.

    Raises:
        UserError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name[:40]}.{os.urandom(6).hex()}.partial")
    try:
        with gone_at_the_end(temporary):
            target = plain_target(path)
            if target is None:
                raise OSError(errno.ENOTSUP, "no plain file")
            temporary.hardlink_to(source)
            temporary.replace(target)
        _sync_dir(target.parent)
    except OSError:
        write_atomically(path, source.read_bytes())
    finally:
        # After a rename of one link onto another of the same file, both are still there.
        _remove(temporary)


def put_in_place(source: Path, path: Path) -> None:
    """Moves a file that is whole to its place; see `atomic_file`.

    Raises:
        UserError: It cannot be written.
    """
    with contextlib.suppress(OSError):
        target = plain_target(path)
        if target is not None:
            _take_over_mode(source, target)
            source.replace(target)
            return
    # A device, another disk behind a link, or what is refused with a sentence.
    with source.open("rb") as content, atomic_file(path) as file:
        shutil.copyfileobj(content, file)


@contextlib.contextmanager
def disk_errors(directory: Path, hint: str = "check the folder and the disk") -> Iterator[None]:
    """Says in one sentence what the disk says to a block that writes files of a folder by other means.

    Args:
        directory: The folder, or a file that is written.
        hint: What to do about it.

    Raises:
        UserError: The disk is full, or not to be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        raise UserError(
            f"cannot write {error.filename or directory}: {system_reason(error)}", hint
        ) from error


# What a file system answers to a write that is right.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def lock_file(file: IO[Any], *, wait: bool) -> bool:
    """Locks an open file until it is closed, however the process ends.

    Args:
        file: The file.
        wait: Whether to wait until nobody else holds it.

    Returns:
        False where its file system has no locks.

    Raises:
        BlockingIOError: Another process holds it, and this one was not to wait.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


# What flock(2) answers on NFS without its lock daemon, and on Lustre that is mounted without -o flock.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """Yields a name of a file or folder for libraries that take every name to be UTF-8.

    Linux lets a name be any bytes. One that is not UTF-8 is reached through an open handle, while the block
    runs.

    Raises:
        OSError: It cannot be opened.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        handle = os.open(path, os.O_RDONLY)
        try:
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
    else:
        yield str(path)


def make_dir(path: Path) -> None:
    """Makes a folder and those above it.

    Raises:
        UserError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {path}: {system_reason(error)}", "check the folder and the disk"
        ) from error


def _remove(temporary: Path) -> None:
    """Removes a file that was not finished, where the disk lets it; what is told is why it was not."""
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def _sync_dir(directory: Path) -> None:
    """Makes a rename last through a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Two threads that read the mask at once would each put back what the other had set for a moment.
_MASK = threading.Lock()


def _umask() -> int:
    """Returns the process's file mode mask, which can only be read by setting it."""
    with _MASK:
        mask = os.umask(0o022)
        os.umask(mask)
    return mask
