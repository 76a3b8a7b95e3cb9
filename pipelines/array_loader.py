"""A loader of raw arrays on the CPU, where DALI has nothing to decode."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from alexnet_fast.data import PictureList
from alexnet_fast.pipelines.finishing import Finisher
from alexnet_fast.pipelines.loader import Batch, Loader, LoaderConfig
from alexnet_fast.pipelines.plan import Schedule
from alexnet_fast.pipelines.reading import Read, Reader
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.windows import View


class ArrayLoader(Loader):
    """Batches of regions that threads read, and others finish; arguments as for `Loader`."""

    def __init__(
        self,
        pictures: PictureList,
        spec: AugmentSpec,
        view: View,
        schedule: Schedule,
        config: LoaderConfig,
    ) -> None:
        super().__init__(pictures, spec, view, schedule, config)
        self._reader = Reader(pictures, view, threads=config.threads, grid=True)
        self._finisher = Finisher(view, config)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on."""
        spec = self.spec.in_epoch(epoch) if self.view == "train" else self.spec
        for read in self._reader.batches(self.schedule.epoch(epoch, self.spec, start), spec):
            yield self._without_lost(self._finished(read), read.lost)

    def _finished(self, read: Read) -> Batch:
        """Returns a batch that was read as the network takes it, bad pictures included."""
        assert read.windows is not None
        images = self._finisher.batch(read.inputs["pixels"], read.windows, read.plan, read.spec)
        return Batch(images, self.labels[torch.from_numpy(read.plan.indices)], read.plan.indices)
