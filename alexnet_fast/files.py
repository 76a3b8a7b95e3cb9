"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from alexnet_fast.errors import UserError, system_reason


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that takes the place of `path` when the block ends well, and is removed when it does not.

    It is written beside `path`, flushed to the disk, then renamed: whoever reads `path`, even after a power
    cut, finds the old content or the new.

    Raises:
        UserError: It cannot be written.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; these are to be as readable as any other.
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove(temporary)
        raise UserError(
            f"cannot write {path}: {system_reason(error)}", "check the folder and the disk"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.hardlink_to(source)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError:
        _remove(str(temporary))
        write_atomically(path, source.read_bytes())


@contextlib.contextmanager
def disk_errors(folder: Path, mend: str = "check the folder and the disk") -> Iterator[None]:
    """Says in one sentence what the disk says to a block that writes files of a folder by other means.

    Args:
        folder: The folder, or a file that is written.
        mend: What to do about it.

    Raises:
        UserError: The disk is full, or not to be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        raise UserError(f"cannot write {error.filename or folder}: {system_reason(error)}", mend) from error


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


def make_folder(path: Path) -> None:
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


def _remove(temporary: str | None) -> None:
    """Removes a file that was not finished, where the disk lets it; what is told is why it was not."""
    if temporary is not None:
        with contextlib.suppress(OSError):
            Path(temporary).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
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
