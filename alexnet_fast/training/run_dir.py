"""The folder of a training run: which file lies where."""

from __future__ import annotations

import dataclasses
import datetime
import os
import socket
from pathlib import Path
from typing import IO

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.training.log import log
from alexnet_fast.utils.atomic import lock_file, make_dir
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


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths of a run.

    Args:
        root: The folder.
    """

    root: Path

    @property
    def config(self) -> Path:
        """Resolved options."""
        return self.root / "config.toml"

    @property
    def classes(self) -> Path:
        """Class map."""
        return self.root / "classes.json"

    @property
    def log(self) -> Path:
        """What the console showed."""
        return self.root / "log.txt"

    @property
    def metrics(self) -> Path:
        """One row an epoch."""
        return self.root / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.root / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.pt"

    @property
    def best(self) -> Path:
        """The checkpoint with the highest validation accuracy."""
        return self.checkpoints / "best.pt"

    @property
    def images(self) -> Path:
        """Names of the images that the run began with."""
        return self.root / "images.txt.gz"

    @property
    def features(self) -> Path:
        """Folder of the vectors that `--features` trains on."""
        return self.root / "features"

    @property
    def diverged(self) -> Path:
        """Where the loss was no number any more; only until the run is beyond it."""
        return self.root / "diverged.json"

    @property
    def lock(self) -> Path:
        """Held by the process that writes here."""
        return self.root / ".lock"

    @property
    def blocked(self) -> Path:
        """Images that a decoder died of, which the run decodes no more."""
        return self.root / "blocked_images.json"

    def decoding(self, rank: int) -> Path:
        """What one process is decoding just now; see `pipelines.decoding_record`."""
        return self.root / f".decoding-{rank}"

    @property
    def decoding_pattern(self) -> str:
        """Matches the names of those files."""
        return ".decoding-*"

    @property
    def weights(self) -> Path:
        """Weights of the best checkpoint alone."""
        return self.root / "model.safetensors"

    def exists(self) -> bool:
        """Tells whether a run was started here."""
        return self.config.exists() or self.last.exists()

    def check(self, *, resume: bool) -> None:
        """Refuses a folder that holds a run.

        Raises:
            UserError: It does, and `resume` is not set.
        """
        if self.exists() and not resume:
            raise UserError(
                f"{self.root} holds a run already", "give --resume to go on, or another --run DIR"
            )

    def make(self) -> None:
        """Makes the folder.

        Raises:
            UserError: It cannot be made.
        """
        make_dir(self.checkpoints)

    def clear_partial(self) -> None:
        """Removes files that a killed process did not finish; only the holder of the lock may call it."""
        for path in self.root.rglob(".*.partial"):
            path.unlink(missing_ok=True)


def new_run(model: str) -> Path:
    """Returns a folder for a run of a model, named after the moment: two that begin in one second differ."""
    return Path("runs") / f"{model}-{datetime.datetime.now().astimezone():%Y%m%d-%H%M%S-%f}"


class RunDirLock:
    """Keeps a run folder for one job while its block runs; only the first process calls its methods.

    Args:
        run: The folder.
        resume: Whether it may hold a run.
    """

    def __init__(self, run: RunDir, *, resume: bool) -> None:
        self.run, self._resume = run, resume
        self._lock: LockFile | None = None

    def __enter__(self) -> RunDirLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def check(self) -> None:
        """Locks a run that is there already; a folder that is not is left so.

        Raises:
            UserError: There is a run and it is not to be resumed, or another job is at it.
        """
        self.run.check(resume=self._resume)
        if self.run.exists():
            self._lock = LockFile(self.run.lock)

    def make(self) -> None:
        """Makes the folder, locks it, and clears away what a killed job did not finish.

        Raises:
            UserError: It cannot be made, or another job was quicker.
        """
        self.run.make()
        if self._lock is None:
            self._lock = LockFile(self.run.lock)
            self.run.check(resume=self._resume)
        self.run.clear_partial()
