"""A loader over a DALI graph: our order, our random numbers, bad pictures found and named."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from nvidia.dali import Pipeline

from alexnet_fast.data import PictureList
from alexnet_fast.pipelines.dali_graph import build_graph
from alexnet_fast.pipelines.loader import Batch, Loader, LoaderConfig, View
from alexnet_fast.pipelines.pillow_image import BadPictureError, decode
from alexnet_fast.pipelines.plan import BatchPlan, Schedule
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
        self._coming: Iterator[BatchPlan] = iter(())
        self._flying: deque[BatchPlan] = deque()
        self._single: BatchPlan | None = None
        self._graph = self._build(schedule.batch_size, config.prefetch, self._next_names)
        self._graph_of_one: Pipeline | None = None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on."""
        self._drain()
        self._coming = self.schedule.epoch(epoch, self.spec, start)
        try:
            while True:
                yield self._next_batch()
        except StopIteration:
            self._graph.reset()

    def _next_batch(self) -> Batch:
        """Returns the next batch, less its bad pictures."""
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

    def _rescue(self, plan: BatchPlan, error: RuntimeError) -> Batch:
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
                path = self.pictures.path(int(plan.indices[position]))
                self.bad.report(path, _why(path))
        if len(good) == len(plan):
            raise error
        if not good:
            return self.empty_batch()
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
        )
        graph.build()
        return graph

    def _next_names(self) -> tuple[list[Any], ...]:
        """Feeds the graph the next batch; StopIteration ends the epoch."""
        plan = next(self._coming)
        self._flying.append(plan)
        return self._inputs(plan)

    def _single_names(self) -> tuple[list[Any], ...]:
        """Feeds the graph of one."""
        assert self._single is not None
        return self._inputs(self._single)

    def _inputs(self, plan: BatchPlan) -> tuple[list[Any], ...]:
        """Returns a batch as the graph's inputs."""
        names = [
            np.frombuffer(os.fsencode(self.pictures.path(index)), np.uint8) for index in plan.indices.tolist()
        ]
        return (names, list(plan.draws)) if self.view == "train" else (names,)

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


def _why(path: str) -> str:
    """Returns why a picture cannot be decoded, in Pillow's words where Pillow refuses it too."""
    try:
        decode(path)
    except BadPictureError as error:
        return str(error)
    return "DALI cannot decode this kind of file"
