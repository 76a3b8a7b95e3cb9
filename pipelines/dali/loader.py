"""A loader over a DALI graph: our order, our random numbers, bad images found and named."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.utils.dlpack
from nvidia.dali import Pipeline

from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.cpu.finish import Postprocessor
from alexnet_fast.pipelines.cpu.normalize import changes_of
from alexnet_fast.pipelines.crop_windows import CropWindows, View
from alexnet_fast.pipelines.dali.graph import Part, Source, build_graph
from alexnet_fast.pipelines.loader import Batch, Loader, LoaderConfig
from alexnet_fast.pipelines.prefetch import Prefetcher, RawBatch
from alexnet_fast.pipelines.sampler import BatchIndices, EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Pixels


class _Flight(NamedTuple):
    """A batch that a graph is working on.

    Args:
        plan: Its images and random numbers.
        spec: Of its epoch.
        windows: Of these images.
        lost: As in `reading.Read`.
    """

    plan: BatchIndices
    spec: AugmentSpec
    windows: CropWindows
    lost: dict[int, str]


class DaliLoader(Loader):
    """Batches from a DALI graph.

    Args:
        images: What to load.
        spec: Geometry, normalisation and random parts.
        view: Which part of the image.
        sampler: Batches and order.
        config: Device, threads, bad-image policy.
        stop_after: Leave out everything after a stage; to measure with `benchmark_stages` what stages cost.
        region: As in `build_graph`.
    """

    def __init__(
        self,
        images: ImageList,
        spec: AugmentSpec,
        view: View,
        sampler: EpochSampler,
        config: LoaderConfig,
        *,
        stop_after: Part | None = None,
        region: bool | None = None,
    ) -> None:
        super().__init__(images, spec, view, sampler, config)
        self._on_gpu = config.device.type == "cuda"
        self._stop_after, self._region = stop_after, region
        self._raw_batches: Iterator[RawBatch] = iter(())
        self._in_flight: deque[_Flight] = deque()
        self._single: tuple[_Flight, dict[str, Any]] | None = None
        # On a GPU the graph does all the work.
        self._finisher = None if self._on_gpu else Postprocessor(view, config)
        self._reader = Prefetcher(images, view, threads=config.workers, align=not self._on_gpu)
        self._graph = self._build(sampler.batch_size, config.prefetch, self._next_inputs)
        self._graph_of_one: Pipeline | None = None

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on."""
        return self._noted(epoch, start, self._pass(epoch, start))

    def _pass(self, epoch: int, start: int) -> Iterator[Batch]:
        """Runs the graph over an epoch."""
        self._begin(epoch, start)
        try:
            while True:
                yield self._next_batch()
        except StopIteration:
            self._graph.reset()

    def benchmark_stages(self, epoch: int) -> Iterator[int]:
        """Runs the graph over an epoch, drops what comes out and yields the length of each batch."""
        self._begin(epoch, 0)
        try:
            while True:
                pixels = self._run(self._graph)
                flight = self._in_flight.popleft()
                if self._finisher is not None and self._stop_after == "resizing":
                    self._finisher.views(_parts(pixels), flight.windows)
                yield len(flight.plan)
        except StopIteration:
            self._graph.reset()

    def _begin(self, epoch: int, start: int) -> None:
        """Makes the graph's source give the batches of an epoch."""
        self._flush()
        plans = self.sampler.epoch(epoch, self.spec, start)
        self._raw_batches = self._reader.batches(plans, self.spec_in(epoch))

    def _next_batch(self) -> Batch:
        """Returns the next batch, less its bad images."""
        try:
            pixels = self._run(self._graph)
        except RuntimeError as error:
            return self._retry_one_by_one(self._in_flight.popleft(), error)
        flight = self._in_flight.popleft()
        images = self._images(pixels, flight)
        return self._without_lost(self._batch(images, flight.plan), flight.lost)

    def _run(self, graph: Pipeline) -> Any:
        """Runs a graph once; on a GPU in torch's stream, so that the host does not wait for the pixels."""
        (pixels,) = graph.run(torch.cuda.current_stream(self.config.device)) if self._on_gpu else graph.run()
        return pixels

    def _images(self, pixels: Any, flight: _Flight) -> torch.Tensor:
        """Returns the output of a graph as the network takes it.

        DALI's buffer is handed out without a copy, where the graph did all the work; it belongs to whoever
        holds the tensor.
        """
        if self._finisher is not None:
            return self._finisher.batch(_parts(pixels), flight.windows, flight.plan, flight.spec)
        images_nhwc = torch.utils.dlpack.from_dlpack(pixels.as_tensor())
        return images_nhwc if self.view == "square" else images_nhwc.permute(0, 3, 1, 2)

    def _batch(self, images: torch.Tensor, plan: BatchIndices) -> Batch:
        """Adds the labels."""
        labels = self.labels[torch.from_numpy(plan.indices)]
        if self._on_gpu:
            labels = labels.pin_memory().to(self.config.device, non_blocking=True)
        return Batch(images, labels, plan.indices)

    def _retry_one_by_one(self, flight: _Flight, error: RuntimeError) -> Batch:
        """Runs a failed batch image by image; Pillow decodes those that DALI cannot, or says why not.

        Raises:
            UserError: The policy says so.
            RuntimeError: No image is bad by itself, so the graph is at fault.
        """
        plan = flight.plan
        images: list[torch.Tensor] = []
        lost: dict[int, str] = {}
        failed = 0
        for position, index in enumerate(plan.indices.tolist()):
            try:
                image, reason = self._run_one(plan.single(position), flight.spec)
            except RuntimeError:
                failed += 1
                self._reader.needs_transcode.add(index)
                image, reason = self._run_one(plan.single(position), flight.spec)
            images.append(image)
            if reason is not None:
                lost[position] = reason
        if not failed and lost.keys() == flight.lost.keys():
            raise error
        return self._without_lost(self._batch(torch.cat(images), plan), lost)

    def _run_one(self, plan: BatchIndices, spec: AugmentSpec) -> tuple[torch.Tensor, str | None]:
        """Runs one image through a graph of its own, so that the batches under way are left alone.

        Returns:
            Its pixels, and why they are not its own where it is lost.
        """
        if self._graph_of_one is None:
            self._graph_of_one = self._build(1, 1, self._single_inputs)
        self._single = self._to_inputs(self._reader.read(plan, spec))
        flight = self._single[0]
        return self._images(self._run(self._graph_of_one), flight), flight.lost.get(0)

    def _build(self, batch_size: int, prefetch: int, source: Source) -> Pipeline:
        """Builds a graph of this loader's view."""
        graph = build_graph(
            self.spec,
            self.view,
            device="gpu" if self._on_gpu else "cpu",
            batch_size=batch_size,
            threads=self.config.workers,
            half=self.config.half,
            region=self._region,
            device_id=(self.config.device.index or 0) if self._on_gpu else None,
            prefetch=prefetch,
            decoder=self.config.decoder,
            source=source,
            reading=self._reader.kind,
            stop_after=self._stop_after if self._on_gpu or self._stop_after == "reading" else "decoding",
        )
        graph.build()
        return graph

    def _next_inputs(self) -> dict[str, Any]:
        """Feeds the graph the next batch; StopIteration ends the epoch."""
        flight, inputs = self._to_inputs(next(self._raw_batches))
        self._in_flight.append(flight)
        return inputs

    def _single_inputs(self) -> dict[str, Any]:
        """Feeds the graph of one."""
        assert self._single is not None
        return self._single[1]

    def _to_inputs(self, read: RawBatch) -> tuple[_Flight, dict[str, Any]]:
        """Returns a batch that was read, and the graph's inputs for it."""
        plan, spec, windows = read.plan, read.spec, read.windows
        inputs: dict[str, Any] = {
            name: list(map(np.ascontiguousarray, values)) for name, values in read.inputs.items()
        }
        inputs |= windows.dali_inputs()
        if self._on_gpu:
            changes = changes_of(plan.random_params, spec, random=self.view == "train")
            inputs |= {**vars(changes), "mirror": changes.mirror.astype(np.int32)}
        return _Flight(plan, spec, windows, read.lost), inputs

    def _flush(self) -> None:
        """Runs out what an epoch that was left early had still in flight."""
        self._raw_batches = iter(())
        while self._in_flight:
            try:
                self._graph.run()
            except StopIteration:
                break
            except RuntimeError:
                pass  # a bad image of the abandoned epoch: its batch is dropped with the rest
            self._in_flight.popleft()
        self._in_flight.clear()
        self._graph.reset()


def _parts(pixels: Any) -> list[Pixels]:
    """Returns the images of a graph's output on the CPU, without a copy."""
    return [np.asarray(pixels[position]) for position in range(len(pixels))]
