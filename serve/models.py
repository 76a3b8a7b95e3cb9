"""The models of a server: loading, versions, reloading, and the way of a request through one of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.runtime.metadata import OUTPUT
from alexnet_fast.runtime.open import Backend, model_file, open_backend
from alexnet_fast.serve.batcher import Batcher, Queue, Statistics
from alexnet_fast.serve.errors import unknown
from alexnet_fast.serve.image import DecoderPool
from alexnet_fast.serve.log import log_event
from alexnet_fast.serve.v2.types import AnswerTensor, InferAnswer, images_of, outputs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from alexnet_fast.serve.config import ServerConfig
    from alexnet_fast.serve.v2.types import InferRequest
    from alexnet_fast.utils.arrays import AnyArray, Pixels

# What the paths of the protocol and Prometheus' labels can carry without quoting.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class ModelRegistry:
    """Models by name.

    Args:
        paths: Path of each model by its name; requests that name no model get the first one.
        config: Everything else.

    Attributes:
        config: See above.
        models: The models by name.
        draining: Whether the server is about to end, so that nobody should send requests any more.

    Raises:
        UserError: A model cannot be loaded.
    """

    def __init__(self, paths: Mapping[str, Path], config: ServerConfig) -> None:
        self.config = config
        self._decoders = DecoderPool(config.limits.images)
        self.models = {name: ServedModel(name, path, config, self._decoders) for name, path in paths.items()}
        self.draining = False
        self._loader = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="loader")

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: models are loaded before the server listens."""
        return not self.draining

    @property
    def current(self) -> list[ModelVersion]:
        """The version of each model that answers now."""
        return [model.current for model in self.models.values()]

    def get(self, name: str | None = None) -> ServedModel:
        """Returns a model by its name; without a name the first one.

        Raises:
            RequestError: No model has this name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise unknown(f"there is no model {name[:100]!r}, there is {', '.join(self.models)}")
        return self.models[name]

    async def watch(self) -> None:
        """Looks for newer files for ever, and serves those that load."""
        while True:
            await asyncio.sleep(self.config.reload_interval)
            for model in self.models.values():
                await self._reload(model)

    async def _reload(self, model: ServedModel) -> None:
        """Serves the newer file of a model, if there is one that loads."""
        loop = asyncio.get_running_loop()
        try:
            newer = await loop.run_in_executor(self._loader, model.poll)
        except Exception as error:  # noqa: BLE001 - watching outlives whatever a file makes a library raise
            model.reject(str(error))
            log_event("reload refused", level="error", model=model.name, reason=str(error))
            return
        if newer is not None:
            model.activate(newer)
            log_event("reloaded", model=model.name, version=newer.version, classes=len(newer.backend.classes))

    def close(self) -> None:
        """Ends the threads; to be called when nothing is in flight."""
        self._decoders.close()
        self._loader.shutdown(wait=False, cancel_futures=True)
        for model in self.models.values():
            model.current.retire()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stamp:
    """Distinguishes a file from the one that replaced it, without reading either."""

    path: Path
    inode: int
    bytes: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Returns the stamp of a file.

        Raises:
            UserError: There is no such file.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(
                f"there is no file {path} ({system_reason(error)})",
                "check the path, or write one with `alexnet-fast export`",
            ) from error
        return cls(path=path, inode=status.st_ino, bytes=status.st_size, changed_ns=status.st_mtime_ns)


class ModelVersion:
    """One loaded file, and the thread that runs it.

    Attributes:
        model: Name of the model.
        version: As the protocol's paths name it.
        backend: Runs the file.
        batcher: Joins requests into batches.
        statistics: Counts requests and batches.
    """

    def __init__(self, model: ServedModel, version: str, backend: Backend, decoders: DecoderPool) -> None:
        self.model, self.version, self.backend = model.name, version, backend
        self.statistics = Statistics()
        batching = model.batching
        self.batcher = Batcher(
            backend.outputs,
            model.queue,
            self.statistics,
            max_batch_size=batching.max_batch_size,
            max_queue_delay=batching.max_queue_delay,
        )
        self._timeout, self._decoders = batching.timeout, decoders
        self._users = 0
        self._retired = False

    async def classify(
        self,
        images: Pixels | Sequence[bytes],
        *,
        outputs: Sequence[str] = (OUTPUT,),
        names: Sequence[str | None] | None = None,
        timeout: float | None = None,
    ) -> dict[str, AnyArray]:
        """Classifies pixels or encoded images.

        Args:
            images: uint8 (N, side, side, 3), or encoded images.
            outputs: Names of the requested outputs.
            names: Names of the images, for messages.
            timeout: Seconds; by default the server's.

        Returns:
            The outputs by name, N rows each.

        Raises:
            RequestError: See `Batcher.classify`.
        """
        deadline = time.monotonic() + (timeout or self._timeout)

        async def pixels() -> Pixels:
            if isinstance(images, np.ndarray):
                return images
            return await self._decoders.decode(images, names, self.backend.spec, deadline)

        return await self.batcher.classify(len(images), pixels, outputs, deadline)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[ModelVersion]:
        """Keeps the version alive for one request, even if a newer one replaces it meanwhile."""
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Ends the version once nobody uses it."""
        self._retired = True
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._retired and self._users == 0:
            self.batcher.close()


class ServedModel:
    """A model under its name: its file, the version that answers now, and the change to a newer one.

    Args:
        name: As the protocol's paths name it.
        path: An ONNX file, a folder with a `model.onnx`, or a folder of numbered folders, one per version, of
            which the highest is served.
        config: Batching and device.
        decoders: Decodes images.

    Attributes:
        name: See above.
        path: See above.
        batching: See `Batching`.
        queue: The images that wait for any version.
        reloads: Number of newer files by result, "success" or "failure".
        problem: Why the newest file is not served; None if it is.

    Raises:
        UserError: The name cannot be used, or the model cannot be loaded.
    """

    def __init__(self, name: str, path: Path, config: ServerConfig, decoders: DecoderPool) -> None:
        if not _NAME.fullmatch(name):
            raise UserError(
                f"--name {name!r} cannot be the name of a model",
                "use letters, digits, '_', '-' and '.', at most 100",
                exit_code=2,
            )
        self.name, self.path, self.batching = name, path, config.batching
        self._config, self._decoders = config, decoders
        self.queue = Queue(config.batching.max_queue_size)
        self.reloads = {"success": 0, "failure": 0}
        self.problem: str | None = None
        self._loaded = 0
        stamp = self._stamp()
        self._seen: Stamp | None = stamp
        self.current = self._load(stamp)

    async def infer(self, request: InferRequest) -> InferAnswer:
        """Answers an inference request.

        Raises:
            RequestError: The request does not fit the model, or see `ModelVersion.classify`.
        """
        with self.version(request.version).in_use() as version:
            backend = version.backend
            images = images_of(request, backend.spec.resize, self.batching.max_batch_size)
            requested = outputs_of(request, backend.output_tensors)
            names = [output.name for output in requested]
            arrays = await version.classify(images, outputs=names, timeout=request.timeout)
            return InferAnswer(
                model=self.name,
                version=version.version,
                id=request.id,
                outputs=tuple(
                    AnswerTensor(requested=output, array=arrays[output.name], classes=backend.classes)
                    for output in requested
                ),
            )

    def version(self, name: str | None = None) -> ModelVersion:
        """Returns the version that answers.

        Args:
            name: The version that a request names; None for any.

        Raises:
            RequestError: That version is not served (any more).
        """
        if name not in (None, self.current.version):
            raise unknown(f"version {name!r} of {self.name} is not served, version {self.current.version} is")
        return self.current

    def poll(self) -> ModelVersion | None:
        """Loads and warms up the file that replaced the current one; None if nothing changed.

        May take seconds; the current version answers meanwhile.

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
        """Makes a newer version answer from now on."""
        before, self.current, self.problem = self.current, version, None
        self.reloads["success"] += 1
        before.retire()

    def reject(self, problem: str) -> None:
        """Records that a newer file cannot be served."""
        self.problem = problem
        self.reloads["failure"] += 1

    def _stamp(self) -> Stamp:
        return Stamp.of(_newest_file(self.path))

    def _load(self, stamp: Stamp) -> ModelVersion:
        config = self._config
        backend = open_backend(
            stamp.path, device=config.device, threads=config.threads, allow_fallback=config.allow_fallback
        )
        _warm_up(backend, self.batching.max_batch_size)
        self._loaded += 1
        directory = stamp.path.parent
        numbered = directory != self.path and directory.name.isdecimal()
        version = directory.name if numbered else str(self._loaded)
        return ModelVersion(self, version, backend, self._decoders)


def default_name(path: Path) -> str:
    """Returns the default name of a model: that of its file, or of the folder of a `model.onnx`."""
    # Path.resolve raises RuntimeError at a link to itself before Python 3.13.
    whole = Path(os.path.realpath(path))
    stem = whole.parent.name if whole.name == "model.onnx" else whole.stem if whole.is_file() else whole.name
    return re.sub(r"[^A-Za-z0-9_.-]", "_", stem)[:100].lstrip(".-") or "model"


def _newest_file(path: Path) -> Path:
    """Returns the model file of a path: that of the highest complete version, if it has versions."""
    if path.is_dir():
        numbered = [
            directory for directory in path.iterdir() if directory.name.isdecimal() and directory.is_dir()
        ]
        complete = [directory for directory in numbered if any(directory.glob("*.onnx"))]
        if complete:
            return model_file(max(complete, key=lambda directory: int(directory.name)))
    return model_file(path)


def _warm_up(backend: Backend, max_batch_size: int) -> None:
    """Classifies one image and a full batch, so that the first requests wait for no initialisation.

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
