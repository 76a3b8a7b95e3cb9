"""The directory of a training run: its files and its lock."""

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


@dataclasses.dataclass(frozen=True)
class RunDir:
    """Paths of a run.

    Args:
        root: The directory.
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
        """The messages of the console."""
        return self.root / "log.txt"

    @property
    def metrics(self) -> Path:
        """One row per epoch."""
        return self.root / "metrics.csv"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.root / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Directory of the checkpoints."""
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
        """Names of the images of the run."""
        return self.root / "images.txt.gz"

    @property
    def features(self) -> Path:
        """Directory of the embeddings of `--linear-probe` and `--finetune`."""
        return self.root / "features"

    @property
    def diverged(self) -> Path:
        """Position at which the loss diverged, until the run has passed it."""
        return self.root / "diverged.json"

    @property
    def lock(self) -> Path:
        """Locked by the process that writes here."""
        return self.root / ".lock"

    @property
    def blocked(self) -> Path:
        """Images that crashed a decoder and that the run skips."""
        return self.root / "blocked_images.json"

    def decoding(self, rank: int) -> Path:
        """The batches that a process is decoding; see `pipelines.decoding_record`."""
        return self.root / f".decoding-{rank}"

    @property
    def decoding_pattern(self) -> str:
        """Matches the names of the files of `decoding`."""
        return ".decoding-*"

    @property
    def weights(self) -> Path:
        """Weights of the best checkpoint."""
        return self.root / "model.safetensors"

    def exists(self) -> bool:
        """Returns whether the directory holds a run."""
        return self.config.exists() or self.last.exists()

    def check(self, *, resume: bool) -> None:
        """Checks that the directory may be used.

        Raises:
            UserError: It holds a run, and `resume` is not set.
        """
        if self.exists() and not resume:
            raise UserError(
                f"{self.root} holds a run already", "give --resume to go on, or another --run DIR"
            )

    def clear_partial(self) -> None:
        """Removes unfinished files of a killed process; only the holder of the lock may call it."""
        for path in self.root.rglob(".*.partial"):
            path.unlink(missing_ok=True)


def new_run(model: str) -> Path:
    """Returns a directory for a run, named after the time in microseconds: two runs of one second differ."""
    return Path("runs") / f"{model}-{datetime.datetime.now().astimezone():%Y%m%d-%H%M%S-%f}"


class RunDirLock:
    """Reserves a run directory for one job while its block runs; only rank 0 calls its methods.

    Args:
        run: The directory.
        resume: Whether it may hold a run.
    """

    def __init__(self, run: RunDir, *, resume: bool) -> None:
        self.run, self._resume = run, resume
        self._file: IO[str] | None = None

    def __enter__(self) -> RunDirLock:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def check(self) -> None:
        """Locks a run that exists; otherwise nothing is written yet.

        Raises:
            UserError: There is a run and it is not to be resumed, or another job uses it.
        """
        self.run.check(resume=self._resume)
        if self.run.exists():
            self._file = open_locked(self.run.lock)

    def make(self) -> None:
        """Makes the directory, locks it, and removes unfinished files of a killed job.

        Raises:
            UserError: The directory cannot be made, or another job was faster.
        """
        make_dir(self.run.checkpoints)
        if self._file is None:
            self._file = open_locked(self.run.lock)
            self.run.check(resume=self._resume)
        self.run.clear_partial()


def open_locked(path: Path) -> IO[str]:
    """Opens and locks a file; the kernel releases the lock when the file is closed or the process ends.

    Args:
        path: The file, which stays.

    Raises:
        UserError: Another process holds the lock, or the file cannot be written.
    """
    try:
        check_plain(path)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {system_reason(error)}") from error
    try:
        if not lock_file(file, wait=False):
            log.warning("no file of %s can be locked: start no second run there", path.parent)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise UserError(
            f"{path.parent} is in use by {holder}", "wait for its end, or give another --run"
        ) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file
