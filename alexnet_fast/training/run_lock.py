"""One run in a folder at a time."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import IO

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.training.log import log
from alexnet_fast.utils.atomic import lock_file
from alexnet_fast.utils.special_files import check_plain


class LockFile:
    """A lock on a file; the kernel gives it back when the process ends, however it ends.

    Args:
        path: The file, which stays when the lock is given back.

    Raises:
        UserError: Another process holds it, or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            check_plain(path)
            self._file: IO[str] = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {path}: {system_reason(error)}") from error
        try:
            if not lock_file(self._file, wait=False):
                log.warning("no file of %s can be locked: start no second run there", path.parent)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise UserError(
                f"{path.parent} is in use by {holder}", "wait for its end, or give another --run"
            ) from error
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._file.flush()

    def release(self) -> None:
        """Gives the lock back."""
        self._file.close()
