"""Record of the batches that a process is decoding; it outlives the process.

A decoder can crash its process, which can then no longer name the image. So a run keeps a small file per
process: it describes every loader and the batches begun but not handed out yet. The file is updated with
    `pwrite` before each batch, 32 bytes without a flush: the kernel keeps what a dead process has written,
    and only a power cut, which is no decoder's fault, loses it. The file is removed when the work ends, with
    or without an error.
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

# One block per loader: its position in the data, then its description.
_BLOCK = 16 << 10
_MAX_LOADERS = 16
# Epoch, first batch not handed out, one past the last batch that may have been begun; CRC-32.
_POSITION = struct.Struct("<qqqI")
_DESCRIPTION = 32
# Start of the reports of Python's faulthandler, https://docs.python.org/3/library/faulthandler.html
_FAULT = b"Fatal Python error: "


class DecoderDeathError(UserError):
    """A process that decodes images has died; the record of its batches stays.

    Args:
        who: The process, and how it died.
        what: The batches that it was decoding.
        hint: As for `UserError`.
    """

    def __init__(self, who: str, what: str, hint: str) -> None:
        super().__init__(f"{who} while it decoded {what}", hint)
        self.who = who


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenBatches:
    """Batches that a process was decoding when it ended.

    Args:
        loader: Description of the loader, from `Loader.describe`.
        epoch: Counted from 0.
        first: The first batch of the epoch that had not been handed out, counted from 0.
        end: One past the last batch that may have been begun.
    """

    loader: dict[str, Any]
    epoch: int
    first: int
    end: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftRecord:
    """Record of a process that crashed or was killed.

    Args:
        fault: How it died ("Segmentation fault"); None if it was killed from outside or could not report it.
        batches: The batches that it was decoding.
    """

    fault: str | None
    batches: tuple[OpenBatches, ...]


class DecodingRecord:
    """Record of this process; the first loader creates the file and its folder.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._faults: IO[bytes] | None = None
        self._created: list[Path] = []
        self._loaders = 0

    def add(self, description: dict[str, Any]) -> int | None:
        """Adds a loader; returns the number of its block, None if it cannot be recorded."""
        block = self._loaders
        text = json.dumps(description).encode()
        if block == _MAX_LOADERS or len(text) > _BLOCK - _DESCRIPTION:
            return None
        self._loaders += 1
        if not block:
            self._open()
        self._write(text.ljust(_BLOCK - _DESCRIPTION, b"\0"), block * _BLOCK + _DESCRIPTION)
        return block

    def note(self, block: int, epoch: int, first: int, end: int) -> None:
        """Records which batches of a loader are being decoded; none if `first` is `end`."""
        position = struct.pack("<qqq", epoch, first, end)
        self._write(position + struct.pack("<I", zlib.crc32(position)), block * _BLOCK)

    def close(self, *, death: str | None = None) -> None:
        """Ends the record.

        Args:
            death: How a worker of this process died; the file is then left for the next run.
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
                os.pwrite(self._file, _FAULT + death.encode(), _BLOCK * _MAX_LOADERS)
            for directory in reversed(self._created):
                directory.rmdir()
        os.close(self._file)
        self._file = None

    def _open(self) -> None:
        """Creates the file, and lets a fatal signal leave its name there."""
        try:
            self._created = _missing(self._path.parent)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            if not _lock(file):
                os.close(file)
                return
            self._file = file
            os.ftruncate(file, 0)
            os.ftruncate(file, _BLOCK * _MAX_LOADERS)
        except OSError as error:
            self._give_up(error)
            return
        if not faulthandler.is_enabled():
            self._faults = self._path.open("ab")
            faulthandler.enable(self._faults, all_threads=False)

    def _write(self, content: bytes, at: int) -> None:
        """Writes a few bytes; a disk that refuses them is logged once."""
        if self._file is None:
            return
        try:
            os.pwrite(self._file, content, at)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Logs that there is no record, and closes it."""
        _log.warning(
            "cannot write %s (%s): if a decoder ends the process, the next run will not know its batch",
            self._path,
            system_reason(error),
        )
        self.close()


def _lock(file: int) -> bool:
    """Locks an open record; returns False if another job, begun in the same new folder, holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks
    return True


def _missing(directory: Path) -> list[Path]:
    """Returns a folder and its parents, from the top, that do not exist yet."""
    return [each for each in reversed((directory, *directory.parents)) if not each.exists()]


_current: contextvars.ContextVar[DecodingRecord | None] = contextvars.ContextVar("record", default=None)


def current_record() -> DecodingRecord | None:
    """Returns the record for the loaders of this thread."""
    return _current.get()


@contextlib.contextmanager
def recording(path: Path) -> Iterator[None]:
    """Records what the loaders of this thread decode while the block runs.

    The file stays if the process or one of its workers dies (`DecoderDeathError`).

    Args:
        path: The file.
    """
    record = DecodingRecord(path)
    token = _current.set(record)
    death = None
    try:
        yield
    except DecoderDeathError as error:
        death = error.who
        raise
    finally:
        _current.reset(token)
        record.close(death=death)


def read_record(path: Path) -> LeftRecord:
    """Reads the record of a dead process; skips damaged blocks.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}", "remove it") from error
    blocks = (content[at : at + _BLOCK] for at in range(0, _BLOCK * _MAX_LOADERS, _BLOCK))
    _, reported, fault = content[_BLOCK * _MAX_LOADERS :].partition(_FAULT)
    return LeftRecord(
        fault=fault.split(b"\n")[0].decode("ascii", "replace") if reported else None,
        batches=tuple(batches for block in blocks if (batches := _read_block(block)) is not None),
    )


def _read_block(block: bytes) -> OpenBatches | None:
    """Returns the batches that a loader was decoding; None if there are none."""
    if len(block) < _BLOCK:
        return None
    epoch, first, end, checksum = _POSITION.unpack_from(block)
    if zlib.crc32(block[: _POSITION.size - 4]) != checksum or first >= end:
        return None
    try:
        loader = json.loads(block[_DESCRIPTION:].rstrip(b"\0"))
    except ValueError:
        return None
    return OpenBatches(loader=loader, epoch=epoch, first=first, end=end)
