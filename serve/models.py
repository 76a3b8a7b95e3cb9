"""All models of a server, and the way of a request through one of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import time
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.runtime.metadata import OUTPUT
from alexnet_fast.serve.errors import RequestError, malformed, unknown
from alexnet_fast.serve.image import square_of
from alexnet_fast.serve.log import log_event
from alexnet_fast.serve.served_model import ServedModel
from alexnet_fast.serve.v2.types import AnswerTensor, InferAnswer, images_of, outputs_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from alexnet_fast.serve.config import ServerConfig
    from alexnet_fast.serve.served_model import ModelVersion
    from alexnet_fast.serve.v2.types import InferRequest
    from alexnet_fast.utils.arrays import AnyArray, Pixels


class ModelRegistry:
    """Models by name.

    Args:
        paths: Path of each model by its name; the first one answers where none is named.
        config: Everything else.

    Attributes:
        config: As given.
        models: By name.
        draining: The server is about to end: nobody should send any more.

    Raises:
        UserError: A model cannot be loaded.
    """

    def __init__(self, paths: Mapping[str, Path], config: ServerConfig) -> None:
        self.config = config
        self.models = {name: ServedModel(name, path, config) for name, path in paths.items()}
        self.draining = False
        self._decoders = concurrent.futures.ThreadPoolExecutor(
            len(os.sched_getaffinity(0)), thread_name_prefix="decoder"
        )
        self._loader = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="loader")

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here: models are loaded before the server listens."""
        return not self.draining

    def model(self, name: str | None = None) -> ServedModel:
        """Returns a model.

        Raises:
            RequestError: There is none of that name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise unknown(f"there is no model {name[:100]!r}, there is {', '.join(self.models)}")
        return self.models[name]

    async def infer(
        self, model: ServedModel, wanted: str | None, request: InferRequest, timeout: float | None
    ) -> InferAnswer:
        """Answers an inference request.

        Args:
            model: The model.
            wanted: The version that the request names; None for any.
            request: What it asks for.
            timeout: Seconds that it may take; None for the server's own.

        Raises:
            RequestError: It is wrong, there is no room for it, or its time is over.
        """
        with model.version(wanted).in_use() as version:
            spec, batching = version.backend.spec, self.config.batching
            images = images_of(request, spec.resize, batching.max_batch_size)
            wanted_outputs = outputs_of(request, version.backend.output_tensors)
            names = [output.name for output in wanted_outputs]
            found = await self.classify(version, model, images, timeout, outputs=names)
            return InferAnswer(
                model=model.name,
                version=version.version,
                id=request.id,
                outputs=tuple(
                    AnswerTensor(wanted=one, array=found[one.name], classes=version.backend.classes)
                    for one in wanted_outputs
                ),
            )

    async def classify(
        self,
        version: ModelVersion,
        model: ServedModel,
        images: Pixels | Sequence[bytes],
        timeout: float | None = None,
        names: Sequence[str | None] | None = None,
        outputs: Sequence[str] = (OUTPUT,),
    ) -> dict[str, AnyArray]:
        """Classifies pixels or encoded images: through the queue, the decoders and the batcher.

        Args:
            version: The version that answers, in use.
            model: Its model.
            images: uint8 (N, side, side, 3), or encoded images.
            timeout: Seconds; None for the server's own.
            names: Names of the images, for messages.
            outputs: Names of the outputs that are wanted.

        Returns:
            The outputs by name, N rows each.

        Raises:
            RequestError: As for `infer`.
        """
        start = time.perf_counter_ns()
        deadline = time.monotonic() + (timeout or self.config.batching.timeout)
        waiting = _Place(model, len(images))
        try:
            squares = (
                images
                if isinstance(images, np.ndarray)
                else await self._decode(version, images, names, deadline)
            )
            decoded = time.perf_counter_ns()
            waiting.hand_over()
            found, times = await version.batcher.classify(squares, outputs, deadline)
        except BaseException:
            version.statistics.add_failure(time.perf_counter_ns() - start)
            raise
        finally:
            waiting.give_back()
        version.statistics.add_success(time.perf_counter_ns() - start, decoded - start, times)
        return found

    async def _decode(
        self,
        version: ModelVersion,
        images: Sequence[bytes],
        names: Sequence[str | None] | None,
        deadline: float,
    ) -> Pixels:
        """Decodes images in threads, several at once."""
        loop, limits = asyncio.get_running_loop(), self.config.limits.images
        spec = version.backend.spec
        tasks = [loop.run_in_executor(self._decoders, square_of, image, spec, limits) for image in images]
        try:
            done, pending = await asyncio.wait(tasks, timeout=deadline - time.monotonic())
        finally:
            # Nobody waits for those that are not begun: the deadline passed, or the client hung up.
            for task in tasks:
                task.cancel()
        # Every error is looked at, or asyncio complains of it in the log.
        errors = [task.exception() if task in done else None for task in tasks]
        for place, error in enumerate(errors):
            if isinstance(error, BadImageError):
                name = (names and names[place]) or f"image {place}"
                raise malformed(f"{name} cannot be classified: {error}")
        if pending:
            raise RequestError(504, "the deadline passed")
        return np.stack([task.result() for task in tasks])

    async def watch(self) -> None:
        """Looks for newer files for ever, and takes those that can be served."""
        while True:
            await asyncio.sleep(self.config.reload_interval)
            for model in self.models.values():
                await self.reload(model)

    async def reload(self, model: ServedModel) -> None:
        """Takes the newer file of a model, where there is one that can be served."""
        loop = asyncio.get_running_loop()
        try:
            newer = await loop.run_in_executor(self._loader, model.poll)
        except Exception as error:  # noqa: BLE001 - the look-out outlives whatever a file makes of a library
            model.reject(str(error))
            log_event("reload refused", level="error", model=model.name, reason=str(error))
            return
        if newer is not None:
            model.activate(newer)
            log_event("reloaded", model=model.name, version=newer.version, classes=len(newer.backend.classes))

    def close(self) -> None:
        """Ends the threads; to be called when nothing is in flight."""
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)
        for model in self.models.values():
            model.current.retire()


class _Place:
    """The place of a request in a queue, until the batcher has it; given back exactly once."""

    def __init__(self, model: ServedModel, images: int) -> None:
        self._queue, self._images = model.queue, images
        self._queue.admit(images)
        self._mine = True

    def hand_over(self) -> None:
        """Lets the batcher give the place back, when it takes the images."""
        self._mine = False

    def give_back(self) -> None:
        """Gives the place back, unless it was handed over."""
        if self._mine:
            self._queue.leave(self._images)
