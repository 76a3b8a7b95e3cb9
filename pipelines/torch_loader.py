"""The plain loader: Pillow in a torch DataLoader's worker processes, with the same epochs as DALI's."""

from __future__ import annotations

import dataclasses
import multiprocessing
import multiprocessing.context
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from alexnet_fast.data import PictureList
from alexnet_fast.pipelines import pillow_image
from alexnet_fast.pipelines.loader import Batch, Loader, View
from alexnet_fast.pipelines.plan import BatchPlan, Floats, Schedule
from alexnet_fast.pipelines.preprocessing import normalise
from alexnet_fast.pipelines.spec import AugmentSpec

Sample = npt.NDArray[Any]


class TorchLoader(Loader):
    """Batches decoded by Pillow; arguments as for `Loader`."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on."""
        loader = DataLoader(
            _Decoder(self.pictures, self.spec, self.view),
            batch_sampler=_Rows(self.schedule, self.spec, epoch, start),
            collate_fn=list,
            num_workers=self.config.threads,
            prefetch_factor=self.config.prefetch,
            multiprocessing_context=_worker_context(),
        )
        for rows in loader:
            yield self._batch(rows)

    def _batch(self, rows: list[_Row]) -> Batch:
        """Stacks the decoded pictures of a batch and reports the others."""
        for row in rows:
            if row.reason is not None:
                self.bad.report(self.pictures.path(row.index), row.reason)
        good = [row for row in rows if row.pixels is not None]
        if not good:
            return self.empty_batch()
        indices = np.array([row.index for row in good])
        images = torch.from_numpy(np.stack([row.pixels for row in good if row.pixels is not None]))
        images = images.to(self.config.device)
        if self.view != "square":
            images = images.permute(0, 3, 1, 2).to(torch.float16 if self.config.half else torch.float32)
        labels = self.labels[torch.from_numpy(indices)].to(self.config.device)
        return Batch(images, labels, indices)


def _worker_context() -> multiprocessing.context.ForkServerContext:
    """Returns how workers are started: forked from a clean process that has this module loaded.

    A worker forked from this process would inherit its DALI pipelines and hang in their destructors.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@dataclasses.dataclass(frozen=True)
class _Row:
    """One picture, decoded or not."""

    index: int
    pixels: Sample | None
    reason: str | None


class _Rows:
    """A batch sampler that gives each picture its index and its draws."""

    def __init__(self, schedule: Schedule, spec: AugmentSpec, epoch: int, start: int) -> None:
        self._schedule, self._spec, self._epoch, self._start = schedule, spec, epoch, start

    def __iter__(self) -> Iterator[list[tuple[int, Floats]]]:
        """Yields batches of (index, draws)."""
        plan: BatchPlan
        for plan in self._schedule.epoch(self._epoch, self._spec, self._start):
            yield list(zip(plan.indices.tolist(), plan.draws, strict=True))


class _Decoder(Dataset[_Row]):
    """Decodes, cuts and normalises one picture in a worker process."""

    def __init__(self, pictures: PictureList, spec: AugmentSpec, view: View) -> None:
        self._pictures, self._spec, self._view = pictures, spec, view

    def __getitem__(self, key: tuple[int, Floats]) -> _Row:
        """Returns one picture; a bad one carries the reason instead of pixels."""
        index, draws = key
        try:
            picture = pillow_image.decode(self._pictures.path(index))
            return _Row(index, view_of(picture, self._spec, self._view, draws), None)
        except pillow_image.BadPictureError as error:
            return _Row(index, None, str(error))


def view_of(picture: Any, spec: AugmentSpec, view: View, draws: Floats) -> Sample:
    """Returns one view of a decoded picture, as `dali_graph.build_graph` cuts it.

    Args:
        picture: A Pillow picture, RGB.
        spec: Geometry, normalisation.
        view: Which part.
        draws: float32 (6,), as in `plan.BatchPlan`.

    Returns:
        uint8 (resize, resize, 3) for "square", else float32 (crop, crop, 3).
    """
    if view == "square":
        return pillow_image.centre_square(picture, spec)
    if view == "centre":
        return normalise(pillow_image.centre_crop(picture, spec), spec)
    return normalise(pillow_image.random_crop(picture, spec, draws), spec, shift=draws[3:6])
