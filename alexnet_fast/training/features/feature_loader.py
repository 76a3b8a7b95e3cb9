"""Vectors in the place of images, drawn in batches like images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import torch

from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.pipelines.sampler import Integers
from alexnet_fast.training.features.store import Values


class FeatureLoader(Loader):
    """Batches of vectors, in the order and with the labels of the images that they were made of.

    Args:
        source: The loader of the images; its schedule is used for those that could be read.
        values: float32 (N, D), one row an image that could be read.
        indices: int64 (N,), their positions in the image list.
        mean: Subtracted, float32 (D,).
        std: Divides, float32 (D,).
    """

    def __init__(self, source: Loader, values: Values, indices: Integers, mean: Values, std: Values) -> None:
        schedule = dataclasses.replace(source.schedule, images=len(indices))
        super().__init__(source.images, source.spec, source.view, schedule, source.config)
        self.bad = source.bad
        self._values, self._indices, self._mean, self._std = values, indices, mean, std

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of a vector, (D,)."""
        return self._values.shape[1:]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on; `images` are vectors (B, D)."""
        # No random numbers are drawn for vectors.
        plain = dataclasses.replace(self.spec, jitter=None, random_resized_crop=None, distortion=None)
        device = self.config.device
        for plan in self.schedule.epoch(epoch, plain, start):
            indices = self._indices[plan.indices]
            rows = (self._values[plan.indices] - self._mean) / self._std
            yield Batch(torch.from_numpy(rows).to(device), self.labels[indices].to(device), indices)
