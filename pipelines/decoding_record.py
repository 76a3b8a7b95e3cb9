"""A note of which batches a process is decoding, which outlives the process.

A decoder can end its process, and nothing in that process can then say which image it was. So a run keeps a
small file for each of its processes: a line on every loader, and the batches that it has begun and not handed
out yet. It is written with `pwrite` before each batch, 32 bytes without a flush: the kernel keeps what a dead
process has written, and only a power cut, which is no decoder's fault, loses it. The file goes when the work
ends, well or with an error.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import faulthandler
import fcntl
import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from alexnet_fast.errors import UserError, system_reason

_log = logging.getLogger("alexnet_fast")

# One block for each loader: its place in the data, and behind that what it loads.
_BLOCK = 16 << 10
_MOST_LOADERS = 16
# Epoch, first batch that has not been handed out, the one behind the last that may have been begun; CRC-32.
_PLACE = struct.Struct("<qqqI")
_DESCRIPTION = 32
# How Python's faulthandler begins what it writes, https://docs.python.org/3/library/faulthandler.html
_FAULT = b"Fatal Python error: "


class DecoderDeathError(UserError):
    """A process that decodes images has died; the record of what it was decoding stays.

    Args:
        who: Which process, and how it died.
        what: What it was decoding.
        hint: As for `UserError`.
    """

    def __init__(self, who: str, what: str, hint: str) -> None:
        super().__init__(f"{who} while it decoded {what}", hint)
        self.who = who


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenBatches:
    """Batches that a process was decoding when it ended.

    Args:
        loader: What `Loader.describe` says of the loader.
        epoch: Counted from 0.
        first: The first batch of the epoch that had not been handed out, counted from 0.
        end: The one behind the last that may have been begun.
    """

    loader: dict[str, Any]
    epoch: int
    first: int
    end: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftRecord:
    """What a process left behind that did not end by itself.

    Args:
        fault: How it died, where it could still say so ("Segmentation fault"); None where it was killed from
            outside, or nothing was to be said.
        batches: What it was decoding.
    """

    fault: str | None
    batches: tuple[OpenBatches, ...]


class DecodingRecord:
    """The record of this process; the file and its folder are made when the first loader begins.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._faults: IO[bytes] | None = None
        self._made: list[Path] = []
        self._loaders = 0

    def add(self, description: dict[str, Any]) -> int | None:
        """Takes up a loader; returns the number of its block, None where nothing can be noted."""
        block = self._loaders
        text = json.dumps(description).encode()
        if block == _MOST_LOADERS or len(text) > _BLOCK - _DESCRIPTION:
            return None
        self._loaders += 1
        if not block:
            self._open()
        self._write(text.ljust(_BLOCK - _DESCRIPTION, b"\0"), block * _BLOCK + _DESCRIPTION)
        return block

    def note(self, block: int, epoch: int, first: int, end: int) -> None:
        """Notes which batches of a loader are being decoded; none where `first` is `end`."""
        place = struct.pack("<qqq", epoch, first, end)
        self._write(place + struct.pack("<I", zlib.crc32(place)), block * _BLOCK)

    def close(self, *, death: str | None = None) -> None:
        """Ends the record.

        Args:
            death: Of a process that decoded for this one: the file is left for the next run.
        """
        if self._file is None:
            return
        if self._faults is not None:
            faulthandler.disable()
            self._faults.close()
        with contextlib.suppress(OSError):
            if death is None:
                self._path.unlink(missing_ok=True)
            else:
                os.pwrite(self._file, _FAULT + death.encode(), _BLOCK * _MOST_LOADERS)
            for directory in reversed(self._made):
                directory.rmdir()
        os.close(self._file)
        self._file = None

    def _open(self) -> None:
        """Makes the file, and lets a fatal signal leave its name there."""
        try:
            self._made = _missing(self._path.parent)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            if not _lock(file):
                os.close(file)
                return
            self._file = file
            os.ftruncate(file, 0)
            os.ftruncate(file, _BLOCK * _MOST_LOADERS)
        except OSError as error:
            self._give_up(error)
            return
        if not faulthandler.is_enabled():
            self._faults = self._path.open("ab")
            faulthandler.enable(self._faults, all_threads=False)

    def _write(self, content: bytes, at: int) -> None:
        """Writes a few bytes; a disk that does not take them is told of once."""
        if self._file is None:
            return
        try:
            os.pwrite(self._file, content, at)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Says that there is no record."""
        _log.warning(
            "cannot write %s (%s): if a decoder ends the process, the next run will not know its batch",
            self._path,
            system_reason(error),
        )
        self.close()


def _lock(file: int) -> bool:
    """Locks an open record; False where another job is at it, which began in the same new folder."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _missing(directory: Path) -> list[Path]:
    """Returns a folder and those above it, from the top, that are not there yet."""
    return [each for each in reversed((directory, *directory.parents)) if not each.exists()]


_current: contextvars.ContextVar[DecodingRecord | None] = contextvars.ContextVar("record", default=None)


def current_record() -> DecodingRecord | None:
    """Returns the record that this thread's loaders are to be noted in."""
    return _current.get()


@contextlib.contextmanager
def recording(path: Path) -> Iterator[None]:
    """Notes what the loaders of this thread decode while the block runs.

    The file stays if the process dies, or if one of its workers does (`DecoderDeathError`).

    Args:
        path: Of the file.
    """
    record = DecodingRecord(path)
    before = _current.set(record)
    death = None
    try:
        yield
    except DecoderDeathError as error:
        death = error.who
        raise
    finally:
        _current.reset(before)
        record.close(death=death)


def read_record(path: Path) -> LeftRecord:
    """Reads what a process left behind; blocks that make no sense are passed over.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}", "remove it") from error
    blocks = (content[at : at + _BLOCK] for at in range(0, _BLOCK * _MOST_LOADERS, _BLOCK))
    _, told, fault = content[_BLOCK * _MOST_LOADERS :].partition(_FAULT)
    return LeftRecord(
        fault=fault.split(b"\n")[0].decode("ascii", "replace") if told else None,
        batches=tuple(found for block in blocks if (found := _read_block(block)) is not None),
    )


def _read_block(block: bytes) -> OpenBatches | None:
    """Returns what a loader was decoding; None for nothing."""
    if len(block) < _BLOCK:
        return None
    epoch, first, end, sum_ = _PLACE.unpack_from(block)
    if zlib.crc32(block[: _PLACE.size - 4]) != sum_ or first >= end:
        return None
    try:
        loader = json.loads(block[_DESCRIPTION:].rstrip(b"\0"))
    except ValueError:
        return None
    return OpenBatches(loader=loader, epoch=epoch, first=first, end=end)
