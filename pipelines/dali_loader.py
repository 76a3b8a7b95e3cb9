"""A loader over a DALI graph: our order, our random numbers, bad pictures found and named."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.utils.dlpack
from nvidia.dali import Pipeline

from alexnet_fast.data import PictureList
from alexnet_fast.pipelines.dali_graph import Part, Source, build_graph
from alexnet_fast.pipelines.geometry import Integers
from alexnet_fast.pipelines.loader import Batch, Loader, LoaderConfig
from alexnet_fast.pipelines.normalisation import changes_of, normalised
from alexnet_fast.pipelines.picture_sizes import PictureSizes
from alexnet_fast.pipelines.pillow_image import BadPictureError, decode
from alexnet_fast.pipelines.plan import BatchPlan, Schedule
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.windows import View, view_windows


class _Flight(NamedTuple):
    """A batch that a graph is working on.

    Args:
        plan: Its pictures and random numbers.
        spec: Of its epoch.
    """

    plan: BatchPlan
    spec: AugmentSpec


class DaliLoader(Loader):
    """Batches from a DALI graph.

    Args:
        pictures: What to load.
        spec: Geometry, normalisation and random parts.
        view: Which part of the picture.
        schedule: Batches and order.
        config: Device, threads, bad-picture policy.
        stop_after: Leave out everything after a part of the work; to measure with `drive` what parts cost.
        region: As in `build_graph`.
    """

    def __init__(
        self,
        pictures: PictureList,
        spec: AugmentSpec,
        view: View,
        schedule: Schedule,
        config: LoaderConfig,
        *,
        stop_after: Part | None = None,
        region: bool | None = None,
    ) -> None:
        super().__init__(pictures, spec, view, schedule, config)
        self._on_gpu = config.device.type == "cuda"
        self._stop_after, self._region = stop_after, region
        self._coming: Iterator[_Flight] = iter(())
        self._flying: deque[_Flight] = deque()
        self._single: _Flight | None = None
        self._sizes = PictureSizes(
            len(pictures), self._names, batch_size=schedule.batch_size, threads=config.threads
        )
        self._graph = self._build(schedule.batch_size, config.prefetch, self._next_inputs)
        self._graph_of_one: Pipeline | None = None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on."""
        self._begin(epoch, start)
        try:
            while True:
                yield self._next_batch()
        except StopIteration:
            self._graph.reset()

    def drive(self, epoch: int) -> Iterator[int]:
        """Runs the graph over an epoch, drops what comes out and yields the length of each batch."""
        self._begin(epoch, 0)
        try:
            while True:
                pixels = self._run(self._graph)
                self._flying.popleft()
                yield len(pixels)
        except StopIteration:
            self._graph.reset()

    def _begin(self, epoch: int, start: int) -> None:
        """Makes the graph's source give the batches of an epoch."""
        self._drain()
        spec = self.spec.in_epoch(epoch) if self.view == "train" else self.spec
        self._coming = (_Flight(plan, spec) for plan in self.schedule.epoch(epoch, self.spec, start))

    def _next_batch(self) -> Batch:
        """Returns the next batch, less its bad pictures."""
        try:
            pixels = self._run(self._graph)
        except RuntimeError as error:
            return self._rescue(self._flying.popleft(), error)
        flight = self._flying.popleft()
        return self._batch(self._images(pixels, flight), flight.plan)

    def _run(self, graph: Pipeline) -> Any:
        """Runs a graph once; on a GPU in torch's stream, so that the host does not wait for the pixels."""
        (pixels,) = graph.run(torch.cuda.current_stream(self.config.device)) if self._on_gpu else graph.run()
        return pixels

    def _images(self, pixels: Any, flight: _Flight) -> torch.Tensor:
        """Returns the output of a graph as the network takes it.

        DALI's buffer is handed out without a copy, where the graph did all the work; it belongs to whoever
        holds the tensor.
        """
        images_nhwc = torch.utils.dlpack.from_dlpack(pixels.as_tensor())
        if self.view == "square":
            return images_nhwc
        if self._on_gpu:
            return images_nhwc.permute(0, 3, 1, 2)
        changes = changes_of(flight.plan.draws, flight.spec, random=self.view == "train")
        images = normalised(images_nhwc, changes, flight.spec)
        return images.to(torch.float16) if self.config.half else images

    def _batch(self, images: torch.Tensor, plan: BatchPlan) -> Batch:
        """Adds the labels."""
        labels = self.labels[torch.from_numpy(plan.indices)]
        if self._on_gpu:
            labels = labels.pin_memory().to(self.config.device, non_blocking=True)
        return Batch(images, labels, plan.indices)

    def _rescue(self, flight: _Flight, error: RuntimeError) -> Batch:
        """Runs a failed batch picture by picture and reports those that cannot be decoded.

        Raises:
            UserError: The policy says so.
            RuntimeError: No picture is bad by itself, so the graph is at fault.
        """
        plan = flight.plan
        good: list[int] = []
        images: list[torch.Tensor] = []
        # A file that was replaced by one of another size is good in its new size.
        self._sizes.forget(plan.indices)
        for position in range(len(plan)):
            try:
                images.append(self._run_one(_Flight(plan.one(position), flight.spec)))
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

    def _run_one(self, flight: _Flight) -> torch.Tensor:
        """Runs one picture through a graph of its own, so that the batches under way are left alone."""
        if self._graph_of_one is None:
            self._graph_of_one = self._build(1, 1, self._single_inputs)
        self._single = flight
        return self._images(self._run(self._graph_of_one), flight)

    def _build(self, batch_size: int, prefetch: int, source: Source) -> Pipeline:
        """Builds a graph of this loader's view."""
        graph = build_graph(
            self.spec,
            self.view,
            device="gpu" if self._on_gpu else "cpu",
            batch_size=batch_size,
            threads=self.config.threads,
            half=self.config.half,
            region=self._region,
            device_id=(self.config.device.index or 0) if self._on_gpu else None,
            prefetch=prefetch,
            decoder=self.config.decoder,
            source=source,
            stop_after=self._stop_after,
        )
        graph.build()
        return graph

    def _next_inputs(self) -> dict[str, Any]:
        """Feeds the graph the next batch; StopIteration ends the epoch."""
        flight = next(self._coming)
        self._flying.append(flight)
        return self._inputs(flight)

    def _single_inputs(self) -> dict[str, Any]:
        """Feeds the graph of one."""
        assert self._single is not None
        return self._inputs(self._single)

    def _inputs(self, flight: _Flight) -> dict[str, Any]:
        """Returns a batch as the graph's inputs."""
        plan, spec = flight
        windows = view_windows(self._sizes.of(plan.indices), plan.draws, spec, self.view)
        inputs = {"names": self._names(plan.indices), **vars(windows)}
        if self._on_gpu:
            changes = changes_of(plan.draws, spec, random=self.view == "train")
            inputs |= {**vars(changes), "mirror": changes.mirror.astype(np.int32)}
        return inputs

    def _names(self, indices: Integers) -> list[Any]:
        """Returns the paths of some pictures as the graph reads them."""
        return [np.frombuffer(os.fsencode(self.pictures.path(index)), np.uint8) for index in indices.tolist()]

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
