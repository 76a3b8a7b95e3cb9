"""Paths that name no plain file: links, devices, pipes, sockets, and files that are open already.

A device or a pipe is written to, never replaced; it is read without waiting for ever, and never without end.
What cannot be read or written raises an `OSError` whose reason stands within a sentence.
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

# Somebody else may be about to open the other end.
_SECONDS_FOR_THE_OTHER_END = 5.0
# What comes out of a pipe or a device is a list, a label file or an image; /dev/zero has no end.
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
    """Returns where a file has to be put so that `path` names it: behind links; it need not exist yet.

    Returns:
        None for what is to be written to as it is: a device, a pipe, a file that is open as /dev/stdout.

    Raises:
        OSError: It must not be written: a folder, a socket, a disk, or a file that is marked as read-only.
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
    """Refuses a file or folder that this process may not write.

    Raises:
        OSError: It may not.
    """
    if not os.access(path, os.W_OK):
        read_only = os.statvfs(path).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(path))


@contextlib.contextmanager
def opened_as_it_is(path: Path) -> Iterator[IO[bytes]]:
    """Opens for writing what `plain_target` has no place for.

    Raises:
        OSError: It cannot be opened; of a pipe, nobody reads it.
    """
    number = open_number(path)
    if number is not None:
        # Another opening of a plain file would begin at its start again.
        if number == 1:
            sys.stdout.flush()
        handle = os.dup(number)
    else:
        handle = _open_for_writing(path)
    with os.fdopen(handle, "wb") as file:
        yield file


def check_plain(path: Path) -> None:
    """Refuses what a library should open that needs a plain file; one that is missing is left to it.

    Raises:
        OSError: It is a pipe, a device or a socket.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.ENOTSUP, f"it is {kind_of(mode)}, not a file", str(path))


def read_given(path: Path, most: int | None = None) -> bytes:
    """Reads a whole file that a user has named; it may be a pipe, as `<(command)` is.

    Args:
        path: The file.
        most: Bytes after which nothing more is read; None for all.

    Raises:
        OSError: It cannot be read, has no end, or does not fit into memory; of a named pipe, nobody writes.
    """
    if path.is_socket():
        raise OSError(errno.ENOTSUP, "it is a socket", str(path))
    # A named pipe would be waited for; a file is read without waiting anyway.
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
        # Files in /proc have content, and no size.
        patient = stat.S_ISREG(status.st_mode) or open_number(path) is not None
        return _to_the_end(path, handle, most, patient=patient)


def open_given(path: Path) -> IO[bytes]:
    """Opens a file that a user has named; of one that is no plain file the content is read first.

    Raises:
        OSError: As for `read_given`.
    """
    if path.is_file():
        return path.open("rb")
    return io.BytesIO(read_given(path))


def open_number(path: Path) -> int | None:
    """Returns the number of the open file that a path such as /dev/stdout or /dev/fd/3 names, if it does."""
    for _ in range(_MOST_LINKS):
        directory = os.path.realpath(path.parent)
        if path.name.isdecimal() and re.fullmatch(rf"/proc/(self|{os.getpid()})(/task/\d+)?/fd", directory):
            return int(path.name)
        try:
            path = Path(directory, os.readlink(path))  # noqa: PTH115 - of a string that is no path
        except OSError:
            return None
    return None


def kind_of(mode: int) -> str:
    """Returns what kind of file a mode belongs to, as a noun."""
    return next((noun for is_so, noun in _KINDS if is_so(mode)), "a file")


def _open_for_writing(path: Path) -> int:
    """Opens a device or a named pipe; a pipe's reader is waited for a little."""
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
        handle: Opened not to block.
        most: Bytes after which nothing more is read; None for all.
        patient: Whether something is bound to come; the writer of a named pipe may never do.
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
