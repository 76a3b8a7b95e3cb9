"""Atomic writes: temporary file, fsync, rename. Devices and pipes are written to, never replaced."""

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
    """Opens a file that replaces `path` if the block succeeds, and is removed otherwise.

    It is written beside `path`, flushed to the disk, then renamed: a reader of `path`, even after a power
    cut, finds the old content or the new. An existing file keeps its mode. Of a link the target is written;
    a device, a pipe or /dev/stdout gets the content when the block ends.

    Raises:
        UserError: `path` cannot be written, is read-only, or is a folder, a socket or a disk.
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
    """Checks before long work that its result can be written; nothing is written.

    Raises:
        UserError: It cannot be written: see `atomic_file`.
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
    """Opens a temporary file beside the target, and renames it."""
    # Short: the target's name may have the maximum length.
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
    """Opens a file whose content goes to a device or a pipe once it is complete."""
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        with opened_as_it_is(path) as out:
            shutil.copyfileobj(file, out)


def _take_over_mode(temporary: Path, target: Path) -> None:
    """Gives a new file the mode of the one that it replaces, or the default mode."""
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
    """Makes `path` a hard link to `source`, or a copy on file systems without hard links.

    Both are replaced, never changed in place, so neither can alter the other.

    Raises:
        UserError: `path` cannot be written.
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
    """Moves a complete file to its place; see `atomic_file`.

    Raises:
        UserError: `path` cannot be written.
    """
    with contextlib.suppress(OSError):
        target = plain_target(path)
        if target is not None:
            _take_over_mode(source, target)
            source.replace(target)
            return
    # A device, another disk behind a link, or a path that `atomic_file` refuses.
    with source.open("rb") as content, atomic_file(path) as file:
        shutil.copyfileobj(content, file)


@contextlib.contextmanager
def disk_errors(directory: Path, hint: str = "check the folder and the disk") -> Iterator[None]:
    """Turns errors of the disk into one sentence, for blocks that write by other means.

    Args:
        directory: The folder or file that the block writes.
        hint: The hint of the error.

    Raises:
        UserError: The disk is full or read-only.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        raise UserError(
            f"cannot write {error.filename or directory}: {system_reason(error)}", hint
        ) from error


# Errors of the file system for a correct write.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def lock_file(file: IO[Any], *, wait: bool) -> bool:
    """Locks an open file until it is closed, however the process ends.

    Args:
        file: The file.
        wait: Whether to wait until no other process holds it.

    Returns:
        False if its file system has no locks.

    Raises:
        BlockingIOError: Another process holds it, and `wait` is False.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


# Errors of flock(2) on NFS without its lock daemon, and on Lustre mounted without -o flock.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[str]:
    """Yields a name of a file or folder for libraries that require UTF-8.

    A name on Linux may be any bytes. One that is not UTF-8 is reached through an open handle, while the block
    runs.

    Raises:
        OSError: The file cannot be opened.
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
    """Creates a folder and its parents.

    Raises:
        UserError: It cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {path}: {system_reason(error)}", "check the folder and the disk"
        ) from error


def _remove(temporary: Path) -> None:
    """Removes an unfinished file if the disk allows it; the original error is the one to report."""
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)


def _sync_dir(directory: Path) -> None:
    """Makes a rename survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Two threads that read the mask at once would each restore the other's temporary value.
_MASK = threading.Lock()


def _umask() -> int:
    """Returns the process's file mode mask, which can only be read by setting it."""
    with _MASK:
        mask = os.umask(0o022)
        os.umask(mask)
    return mask
