"""A loader of raw arrays on the CPU, where DALI has nothing to decode."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import torch

from alexnet_fast.pipelines.cpu.finish import Postprocessor
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.pipelines.prefetch import Prefetcher, RawBatch


class ArrayLoader(Loader):
    """Batches of regions that threads read, and others finish; arguments as for `Loader`."""

    @functools.cached_property
    def _reader(self) -> Prefetcher:
        """Reads what the view shows of each array."""
        return Prefetcher(self.images, self.view, threads=self.config.threads, grid=True)

    @functools.cached_property
    def _finisher(self) -> Postprocessor:
        """Finishes what was read."""
        return Postprocessor(self.view, self.config)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on."""
        return self._noted(epoch, start, self._pass(epoch, start))

    def _pass(self, epoch: int, start: int) -> Iterator[Batch]:
        """Reads and finishes an epoch."""
        plans = self.schedule.epoch(epoch, self.spec, start)
        for read in self._reader.batches(plans, self.spec_in(epoch)):
            yield self._without_lost(self._finished(read), read.lost)

    def _finished(self, read: RawBatch) -> Batch:
        """Returns a batch that was read as the network takes it, bad images included."""
        assert read.windows is not None
        images = self._finisher.batch(read.inputs["pixels"], read.windows, read.plan, read.spec)
        return Batch(images, self.labels[torch.from_numpy(read.plan.indices)], read.plan.indices)
