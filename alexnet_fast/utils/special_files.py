"""Paths other than plain files: links, devices, pipes, sockets, and open files.

A device or a pipe is written to, never replaced; reads of it are limited in time and size. Errors are
`OSError`s whose reason is for use within a sentence.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import select
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# Another process may be about to open the other end.
_SECONDS_FOR_THE_OTHER_END = 5.0
# Pipes and devices provide lists, label files or images; /dev/zero has no end.
_MOST_FROM_A_STREAM = 256 << 20
_PIECE = 1 << 20
_MOST_LINKS = 40

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a block device"),
)


def plain_target(path: Path) -> Path | None:
    """Returns the target of a path behind links; it need not exist yet.

    Returns:
        None if the path must be written in place: a device, a pipe, a file that is open as /dev/stdout.

    Raises:
        OSError: The path must not be written: a folder, a socket, a disk, or a read-only file.
    """
    if open_number(path) is not None:
        return None
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    if stat.S_ISREG(mode):
        if not mode & 0o222:
            raise OSError(errno.EACCES, "it is marked as read-only", str(path))
        check_access(path)
        return Path(os.path.realpath(path))
    if stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        return None
    raise OSError(errno.ENOTSUP, f"it is {kind_of(mode)}", str(path))


def check_access(path: Path) -> None:
    """Checks that this process may write a file or folder.

    Raises:
        OSError: It must not.
    """
    if not os.access(path, os.W_OK):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(path))


@contextlib.contextmanager
def opened_as_it_is(path: Path) -> Iterator[IO[bytes]]:
    """Opens a path for which `plain_target` returns None.

    Raises:
        OSError: The path cannot be opened, or is a pipe without a reader.
    """
    number = open_number(path)
    if number is not None:
        # Opening a plain file again would begin at its start.
        if number == 1:
            sys.stdout.flush()
        handle = os.dup(number)
    else:
        handle = _open_for_writing(path)
    with os.fdopen(handle, "wb") as file:
        yield file


def check_plain(path: Path) -> None:
    """Checks that a path is a plain file or a folder, for libraries that need one; it may be missing.

    Raises:
        OSError: The path is a pipe, a device or a socket.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.ENOTSUP, f"it is {kind_of(mode)}, not a file", str(path))


def read_given(path: Path, most: int | None = None) -> bytes:
    """Reads a whole file that the user named; it may be a pipe such as `<(command)`.

    Args:
        path: The file.
        most: Maximum number of bytes to read; None for all.

    Raises:
        OSError: The file cannot be read, has no end, does not fit into memory, or is a pipe without a writer.
    """
    if path.is_socket():
        raise OSError(errno.ENOTSUP, "it is a socket", str(path))
    # Opening a named pipe would block; reading a file never does.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if stat.S_ISREG(status.st_mode) and status.st_size:
            if most is not None:
                return file.read(most)
            if status.st_size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
                raise OSError(errno.EFBIG, "it is larger than the memory of this machine", str(path))
            return file.read()
        # Files in /proc have content but no size.
        patient = stat.S_ISREG(status.st_mode) or open_number(path) is not None
        return _to_the_end(path, handle, most, patient=patient)


def open_given(path: Path) -> IO[bytes]:
    """Opens a file that the user named; if it is not a plain file, its content is read first.

    Raises:
        OSError: As for `read_given`.
    """
    if path.is_file():
        return path.open("rb")
    return io.BytesIO(read_given(path))


def open_number(path: Path) -> int | None:
    """Returns the number of the open file that a path such as /dev/stdout or /dev/fd/3 names, or None."""
    for _ in range(_MOST_LINKS):
        directory = os.path.realpath(path.parent)
        if path.name.isdecimal() and re.fullmatch(rf"/proc/(self|{os.getpid()})(/task/\d+)?/fd", directory):
            return int(path.name)
        try:
            path = Path(directory, os.readlink(path))  # noqa: PTH115 - Path.readlink needs a path
        except OSError:
            return None
    return None


def kind_of(mode: int) -> str:
    """Returns the kind of file of a mode, as a noun."""
    return next((noun for is_so, noun in _KINDS if is_so(mode)), "a file")


def _open_for_writing(path: Path) -> int:
    """Opens a device or a named pipe; waits a few seconds for a pipe's reader."""
    end = time.monotonic() + _SECONDS_FOR_THE_OTHER_END
    while True:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:  # noqa: PERF203 - it is waited for
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > end:
                raise OSError(errno.ENXIO, "nobody reads from it", str(path)) from error
            time.sleep(0.05)
        else:
            os.set_blocking(handle, True)
            return handle


def _to_the_end(path: Path, handle: int, most: int | None, *, patient: bool) -> bytes:
    """Reads a stream.

    Args:
        path: For the message.
        handle: A non-blocking file descriptor.
        most: Maximum number of bytes to read; None for all.
        patient: Whether data is certain to come; a named pipe may never get a writer.
    """
    begun = time.monotonic()
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    pieces: list[bytes] = []
    size = 0
    while size <= _MOST_FROM_A_STREAM:
        if most is not None and size >= most:
            return b"".join(pieces)[:most]
        ready = poll.poll(100)
        if not ready:
            if not patient and not pieces and time.monotonic() - begun > _SECONDS_FOR_THE_OTHER_END:
                raise OSError(errno.EAGAIN, "nobody writes to it", str(path))
            continue
        try:
            piece = os.read(handle, _PIECE)
        except BlockingIOError:
            continue
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    raise OSError(errno.EFBIG, f"it does not end within {_MOST_FROM_A_STREAM} bytes", str(path))
