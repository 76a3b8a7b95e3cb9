"""A model that a server offers: its file, the version that answers now, and the change to a newer one."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.runtime.open import Backend, model_file, open_backend
from alexnet_fast.serve.batcher import Batcher, Queue, Statistics
from alexnet_fast.serve.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexnet_fast.serve.config import ServerConfig

# What the paths of the protocol and Prometheus' labels can carry without quoting.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stamp:
    """What tells one file from the one that took its place, without reading it."""

    path: Path
    inode: int
    bytes: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Looks at a file.

        Raises:
            UserError: There is none.
        """
        try:
            found = path.stat()
        except OSError as error:
            raise UserError(
                f"there is no file {path} ({system_reason(error)})",
                "check the path, or write one with `alexnet-fast export`",
            ) from error
        return cls(path=path, inode=found.st_ino, bytes=found.st_size, changed_ns=found.st_mtime_ns)


class ModelVersion:
    """One loaded file, and the thread that runs it.

    Attributes:
        model: Name of the model.
        version: As the protocol's paths name it.
        backend: What answers.
        batcher: What puts requests together.
        statistics: What it did.
    """

    def __init__(
        self, model: str, version: str, backend: Backend, queue: Queue, config: ServerConfig
    ) -> None:
        self.model, self.version, self.backend = model, version, backend
        self.statistics = Statistics()
        self.batcher = Batcher(
            backend.outputs,
            queue,
            self.statistics,
            max_batch_size=config.batching.max_batch_size,
            max_queue_delay=config.batching.max_queue_delay,
        )
        self._users = 0
        self._retired = False

    @contextlib.contextmanager
    def in_use(self) -> Iterator[ModelVersion]:
        """Keeps the version alive for one request, also when a newer one takes its place meanwhile."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._close_if_over()

    def retire(self) -> None:
        """Lets the version go once nobody uses it."""
        self._retired = True
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._retired and self._users == 0:
            self.batcher.close()


class ServedModel:
    """A model by its name.

    Args:
        name: As the protocol's paths name it.
        path: An ONNX file, a folder with a `model.onnx`, or a folder with one numbered folder a version, of
            which the highest is served.
        config: Batching and device.

    Attributes:
        name: As given.
        path: As given.
        queue: What waits for any of its versions.
        reloads: Number of newer files by result, "success" or "failure".
        problem: Why the newest file is not served; None where it is.

    Raises:
        UserError: The name cannot be used, or the model cannot be loaded.
    """

    def __init__(self, name: str, path: Path, config: ServerConfig) -> None:
        if not _NAME.fullmatch(name):
            raise UserError(
                f"--name {name!r} cannot be the name of a model",
                "use letters, digits, '_', '-' and '.', at most 100",
                exit_code=2,
            )
        self.name, self.path, self._config = name, path, config
        self.queue = Queue(config.batching.max_queue_size)
        self.reloads = {"success": 0, "failure": 0}
        self.problem: str | None = None
        self._loaded = 0
        found = self._stamp()
        self._seen: Stamp | None = found
        self.current = self._load(found)

    def version(self, wanted: str | None) -> ModelVersion:
        """Returns the version that answers.

        Args:
            wanted: The version that a request names; None for any.

        Raises:
            RequestError: It is not served (any more).
        """
        if wanted not in (None, self.current.version):
            raise unknown(
                f"version {wanted!r} of {self.name} is not served, version {self.current.version} is"
            )
        return self.current

    def poll(self) -> ModelVersion | None:
        """Loads and warms up the file that took the place of the present one; None where there is none.

        May take seconds; the present version answers meanwhile.

        Raises:
            UserError: The file cannot be served; it is not tried again until it changes.
        """
        try:
            stamp = self._stamp()
        except UserError:
            if self._seen is None:
                return None
            self._seen = None
            raise
        if stamp == self._seen:
            return None
        self._seen = stamp
        return self._load(stamp)

    def activate(self, version: ModelVersion) -> None:
        """Lets a newer version answer from now on."""
        before, self.current, self.problem = self.current, version, None
        self.reloads["success"] += 1
        before.retire()

    def reject(self, problem: str) -> None:
        """Notes that a newer file cannot be served."""
        self.problem = problem
        self.reloads["failure"] += 1

    def _stamp(self) -> Stamp:
        return Stamp.of(_newest_file(self.path))

    def _load(self, stamp: Stamp) -> ModelVersion:
        config = self._config
        backend = open_backend(
            stamp.path, device=config.device, threads=config.threads, allow_fallback=config.allow_fallback
        )
        _warm_up(backend, self._config.batching.max_batch_size)
        self._loaded += 1
        directory = stamp.path.parent
        numbered = directory != self.path and directory.name.isdecimal()
        version = directory.name if numbered else str(self._loaded)
        return ModelVersion(self.name, version, backend, self.queue, self._config)


def default_name(path: Path) -> str:
    """Returns what a model is called where nobody says so: its file, or the folder of a `model.onnx`."""
    # Path.resolve raises RuntimeError at a link to itself before Python 3.13.
    whole = Path(os.path.realpath(path))
    stem = whole.parent.name if whole.name == "model.onnx" else whole.stem if whole.is_file() else whole.name
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem)[:100].lstrip(".-") or "model"


def _newest_file(path: Path) -> Path:
    """Returns the file that a path stands for now."""
    if path.is_dir():
        numbered = [
            directory for directory in path.iterdir() if directory.name.isdecimal() and directory.is_dir()
        ]
        complete = [directory for directory in numbered if any(directory.glob("*.onnx"))]
        if complete:
            return model_file(max(complete, key=lambda directory: int(directory.name)))
    return model_file(path)


def _warm_up(backend: Backend, max_batch_size: int) -> None:
    """Answers once for one image and once for a full batch, so that the first request waits for neither.

    Raises:
        UserError: The answers are not probabilities.
    """
    side = backend.spec.resize
    for count in dict.fromkeys((1, max_batch_size)):
        sums = backend.run(np.zeros((count, side, side, 3), np.uint8)).sum(axis=1)
        if not np.allclose(sums, 1, atol=1e-2):
            raise UserError(
                f"{backend.path} answers a black image with probabilities whose sum is {sums[0]}",
                "export the model again",
            )
