"""A loader over a DALI graph: our order, our random numbers, bad pictures found and named."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
import torch.utils.dlpack
from nvidia.dali import Pipeline

from alexnet_fast.data import PictureList
from alexnet_fast.pipelines.dali_graph import build_graph
from alexnet_fast.pipelines.loader import Batch, Loader, LoaderConfig, View
from alexnet_fast.pipelines.pillow_image import BadPictureError
from alexnet_fast.pipelines.place_bytes import picture_at
from alexnet_fast.pipelines.plan import BatchPlan, Schedule
from alexnet_fast.pipelines.reading import Read, Reader
from alexnet_fast.pipelines.spec import AugmentSpec


class DaliLoader(Loader):
    """Batches straight from DALI's buffers, without a copy; arguments as for `Loader`."""

    def __init__(
        self,
        pictures: PictureList,
        spec: AugmentSpec,
        view: View,
        schedule: Schedule,
        config: LoaderConfig,
    ) -> None:
        super().__init__(pictures, spec, view, schedule, config)
        self._coming: Iterator[Read] = iter(())
        side = spec.resize if view == "square" else spec.crop
        self._reader = Reader(pictures, spec, side=side, random=view == "train", threads=config.threads)
        self._flying: deque[BatchPlan] = deque()
        self._single: BatchPlan | None = None
        self._graph = self._build(schedule.batch_size, config.prefetch, self._next_names)
        self._graph_of_one: Pipeline | None = None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `start` on."""
        self._drain()
        self._coming = self._reader.batches(self.schedule.epoch(epoch, self.spec, start))
        try:
            while True:
                batch = self._next_batch()
                if batch is not None:
                    yield batch
        except StopIteration:
            self._graph.reset()

    def _next_batch(self) -> Batch | None:
        """Returns the next batch, less its bad pictures; None where none is left of it."""
        try:
            images = self._run(self._graph)
        except RuntimeError as error:
            return self._rescue(self._flying.popleft(), error)
        return self._batch(images, self._flying.popleft())

    def _run(self, graph: Pipeline) -> torch.Tensor:
        """Runs a graph once and returns its output in the layout that the network takes."""
        if self.config.device.type == "cuda":
            # On torch's own stream: the host does not wait for the pixels.
            (pixels,) = graph.run(cuda_stream=torch.cuda.current_stream(self.config.device))
        else:
            (pixels,) = graph.run()
        images_nhwc = torch.utils.dlpack.from_dlpack(pixels.as_tensor())
        return images_nhwc if self.view == "square" else images_nhwc.permute(0, 3, 1, 2)

    def _batch(self, images: torch.Tensor, plan: BatchPlan) -> Batch:
        """Adds the labels."""
        labels = self.labels[torch.from_numpy(plan.indices)]
        if self.config.device.type == "cuda":
            labels = labels.pin_memory().to(self.config.device, non_blocking=True)
        return Batch(images, labels, plan.indices)

    def _rescue(self, plan: BatchPlan, error: RuntimeError) -> Batch | None:
        """Runs a failed batch picture by picture and reports those that cannot be decoded.

        Raises:
            UserError: The policy says so.
            RuntimeError: No picture is bad by itself, so the graph is at fault.
        """
        good: list[int] = []
        images: list[torch.Tensor] = []
        for position in range(len(plan)):
            try:
                images.append(self._run_one(plan.one(position)))
                good.append(position)
            except RuntimeError:  # noqa: PERF203 - each picture is tried by itself
                index = int(plan.indices[position])
                self.bad.report(self.pictures.path(index), _why(self.pictures, index))
        if len(good) == len(plan):
            raise error
        if not good:
            return None
        # Concatenated in the layout of the buffers, so that the batch stays channels_last.
        joined = torch.cat(images).contiguous(
            memory_format=torch.contiguous_format if self.view == "square" else torch.channels_last
        )
        return self._batch(joined, BatchPlan(indices=plan.indices[good], draws=plan.draws[good]))

    def _run_one(self, plan: BatchPlan) -> torch.Tensor:
        """Runs one picture through a graph of its own, so that the batches under way are left alone."""
        if self._graph_of_one is None:
            self._graph_of_one = self._build(1, 1, self._single_names)
        self._single = plan
        return self._run(self._graph_of_one)

    def _build(self, batch_size: int, prefetch: int, source: Any) -> Pipeline:
        """Builds a graph of this loader's view."""
        device = self.config.device
        graph = build_graph(
            self.spec,
            self.view,
            device="gpu" if device.type == "cuda" else "cpu",
            batch_size=batch_size,
            threads=self.config.threads,
            half=self.config.half,
            device_id=(device.index or 0) if device.type == "cuda" else None,
            prefetch=prefetch,
            source=source,
            reading=self._reader.kind,
        )
        graph.build()
        return graph

    def _next_names(self) -> tuple[list[Any], ...]:
        """Feeds the graph the next batch; StopIteration ends the epoch."""
        read = next(self._coming)
        for index, reason in read.lost:
            self.bad.report(self.pictures.path(index), reason)
        if not len(read.plan):
            return self._next_names()
        self._flying.append(read.plan)
        return self._inputs(read)

    def _single_names(self) -> tuple[list[Any], ...]:
        """Feeds the graph of one."""
        assert self._single is not None
        return self._inputs(self._reader.read(self._single))

    def _inputs(self, read: Read) -> tuple[list[Any], ...]:
        """Returns a batch as the graph's inputs."""
        return (*read.columns, list(read.plan.draws)) if self.view == "train" else read.columns

    def _drain(self) -> None:
        """Runs out what an epoch that was left early had still in flight."""
        self._coming = iter(())
        while self._flying:
            try:
                self._graph.run()
            except StopIteration:
                break
            except RuntimeError:
                pass  # a bad picture of the abandoned epoch: its batch is dropped with the rest
            self._flying.popleft()
        self._flying.clear()
        self._graph.reset()


def _why(pictures: PictureList, index: int) -> str:
    """Returns why a picture cannot be decoded, in Pillow's words where Pillow refuses it too."""
    try:
        picture_at(pictures, index)
    except BadPictureError as error:
        return str(error)
    return "DALI cannot decode this kind of file"
