"""The DALI loader: our order, our random numbers; bad images are found and named.

A batch passes fetch -> locate -> decode -> finish. `prefetch` fetches and locates, the graph decodes, and on
a CPU `cpu.finish` finishes; on a GPU the graph does that too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from nvidia.dali import Pipeline

from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.cpu.finish import Postprocessor, changes_of
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.dali.graph import Part, Source, build_graph
from alexnet_fast.pipelines.loader import Batch, Loader, LoaderConfig
from alexnet_fast.pipelines.prefetch import Prefetcher, RawBatch
from alexnet_fast.pipelines.sampler import BatchIndices, EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Pixels


class DaliLoader(Loader):
    """Batches from a DALI graph.

    Args:
        images: What to load.
        spec: Geometry, normalisation and random parts.
        view: Which part of the image.
        sampler: Batches and order.
        config: Device, threads, bad-image policy.
        stop_after: Leave out everything after a stage, to measure with `benchmark_stages` what stages cost.
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
        # Located batches that the graph decodes; the oldest comes out first.
        self._in_flight: deque[RawBatch] = deque()
        # On a GPU the graph does all the work.
        self._postprocessor = None if self._on_gpu else Postprocessor(view, config)
        self._prefetcher = Prefetcher(images, view, threads=config.workers, align=not self._on_gpu)
        self._graph = self._build(sampler.batch_size, config.prefetch, self._next_inputs)
        self._single_graph: Pipeline | None = None
        self._single_inputs: dict[str, Any] = {}

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch per step, from step `start` on."""
        return self._recorded(epoch, start, self._batches(epoch, start))

    def _batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """Runs the graph over an epoch."""
        self._begin(epoch, start)
        try:
            while True:
                yield self._next_batch()
        except StopIteration:
            self._graph.reset()

    def benchmark_stages(self, epoch: int) -> Iterator[int]:
        """Runs the graph over an epoch, drops its output and yields the length of each batch."""
        self._begin(epoch, 0)
        try:
            while True:
                pixels = self._decode(self._graph)
                batch = self._in_flight.popleft()
                if self._postprocessor is not None and self._stop_after == "resizing":
                    self._postprocessor.views(_images_of(pixels), batch.windows)
                yield len(batch.plan)
        except StopIteration:
            self._graph.reset()

    def _begin(self, epoch: int, start: int) -> None:
        """Makes the batches of an epoch the source of the graph."""
        self._flush()
        plans = self.sampler.epoch(epoch, self.spec, start)
        self._raw_batches = self._prefetcher.batches(plans, self.spec_in(epoch))

    def _flush(self) -> None:
        """Runs out the batches in flight of an epoch that was left early."""
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

    def _next_batch(self) -> Batch:
        """Returns the next batch, without its bad images."""
        try:
            pixels = self._decode(self._graph)
        except RuntimeError as error:
            return self._retry_one_by_one(self._in_flight.popleft(), error)
        batch = self._in_flight.popleft()
        return self._drop_bad(self._labelled(self._finish(pixels, batch), batch.plan.indices), batch.errors)

    def _decode(self, graph: Pipeline) -> Any:
        """Runs a graph once; on a GPU in torch's stream, so that the host does not wait for the pixels."""
        (pixels,) = graph.run(torch.cuda.current_stream(self.config.device)) if self._on_gpu else graph.run()
        return pixels

    def _finish(self, pixels: Any, batch: RawBatch) -> torch.Tensor:
        """Returns the output of a graph as the network takes it.

        If the graph did all the work, DALI's buffer is handed out without a copy; it belongs to whoever holds
        the tensor.
        """
        if self._postprocessor is not None:
            return self._postprocessor.finish(_images_of(pixels), batch)
        images_nhwc = torch.utils.dlpack.from_dlpack(pixels.as_tensor())
        return images_nhwc if self.view == "square" else images_nhwc.permute(0, 3, 1, 2)

    def _retry_one_by_one(self, batch: RawBatch, error: RuntimeError) -> Batch:
        """Runs a failed batch image by image; Pillow decodes those that DALI cannot, or says why not.

        Raises:
            UserError: An image is bad and the policy is "fail".
            RuntimeError: No image is bad by itself, so the graph is at fault.
        """
        images: list[torch.Tensor] = []
        errors: dict[int, str] = {}
        failed = 0
        for position, index in enumerate(batch.plan.indices.tolist()):
            plan = batch.plan.single(position)
            try:
                image, reason = self._run_single(plan, batch.spec)
            except RuntimeError:
                failed += 1
                self._prefetcher.needs_transcode.add(index)
                image, reason = self._run_single(plan, batch.spec)
            images.append(image)
            if reason is not None:
                errors[position] = reason
        if not failed and errors.keys() == batch.errors.keys():
            raise error
        return self._drop_bad(self._labelled(torch.cat(images), batch.plan.indices), errors)

    def _run_single(self, plan: BatchIndices, spec: AugmentSpec) -> tuple[torch.Tensor, str | None]:
        """Runs one image through its own graph, so that the batches in flight are left alone.

        Returns:
            Its pixels, and the reason if the image is bad and the pixels are not its own.
        """
        if self._single_graph is None:
            self._single_graph = self._build(1, 1, lambda: self._single_inputs)
        batch = self._prefetcher.read(plan, spec)
        self._single_inputs = self._to_inputs(batch)
        return self._finish(self._decode(self._single_graph), batch), batch.errors.get(0)

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
            input_kind=self._prefetcher.kind,
            stop_after=self._stop_after if self._on_gpu or self._stop_after == "reading" else "decoding",
        )
        graph.build()
        return graph

    def _next_inputs(self) -> dict[str, Any]:
        """Feeds the graph the next batch; StopIteration ends the epoch."""
        batch = next(self._raw_batches)
        inputs = self._to_inputs(batch)
        self._in_flight.append(batch)
        return inputs

    def _to_inputs(self, batch: RawBatch) -> dict[str, Any]:
        """Takes the graph's inputs out of a located batch."""
        inputs: dict[str, Any] = {
            name: list(map(np.ascontiguousarray, values)) for name, values in batch.inputs.items()
        }
        # DALI copies them; a batch in flight must not hold their memory.
        batch.inputs = {}
        inputs |= batch.windows.dali_inputs()
        if self._on_gpu:
            changes = changes_of(batch.plan.random_params, batch.spec, random=self.view == "train")
            inputs |= {**vars(changes), "mirror": changes.mirror.astype(np.int32)}
        return inputs


def _images_of(pixels: Any) -> list[Pixels]:
    """Returns the images of a graph's output on the CPU, without a copy."""
    return [np.asarray(pixels[position]) for position in range(len(pixels))]
