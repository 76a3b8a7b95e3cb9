"""Vectors in the place of pictures: computed once, then drawn in batches like pictures."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from alexnet_fast.feature_vectors import feature_vectors
from alexnet_fast.files import atomic_file
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.run_log import log
from alexnet_fast.vector_file import VectorWriter

# Seconds between two lines of progress.
_SAY_EVERY = 10.0

Values = npt.NDArray[np.float32]


class FeatureLoader(Loader):
    """Batches of vectors, in the order and with the labels of the pictures that they were made of.

    Args:
        source: The loader of the pictures; its schedule is used for those that could be read.
        values: float32 (N, D), one row a picture that could be read.
        indices: int64 (N,), their positions in the picture list.
        mean: Subtracted, float32 (D,).
        std: Divides, float32 (D,).
    """

    def __init__(
        self, source: Loader, values: Values, indices: npt.NDArray[np.int64], mean: Values, std: Values
    ) -> None:
        schedule = dataclasses.replace(source.schedule, pictures=len(indices))
        super().__init__(source.pictures, source.spec, source.view, schedule, source.config)
        self.bad = source.bad
        self._values, self._indices, self._mean, self._std = values, indices, mean, std

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on; `images` are vectors (B, D)."""
        # No random numbers are drawn for vectors.
        plain = dataclasses.replace(self.spec, jitter=None, random_resized_crop=None, distortion=None)
        device = self.config.device
        for plan in self.schedule.epoch(epoch, plain, start):
            indices = self._indices[plan.indices]
            rows = (self._values[plan.indices] - self._mean) / self._std
            yield Batch(torch.from_numpy(rows).to(device), self.labels[indices].to(device), indices)


def cached_vectors(
    net: nn.Module, loader: Loader, precision: Precision, path: Path
) -> tuple[Values, npt.NDArray[np.int64]]:
    """Returns the vectors of all pictures, mapped from a file that is written where there is none.

    Args:
        net: On the device.
        loader: Of the view "centre".
        precision: How to compute.
        path: Of the files, less their endings: `PATH.npy` holds the vectors, `PATH.index.npy` the positions.

    Raises:
        UserError: No picture could be read, or a file could not be written.
    """
    values, index = path.with_suffix(".npy"), path.with_suffix(".index.npy")
    if not index.exists():
        _write(net, loader, precision, values, index)
    mapped: Values = np.load(values, mmap_mode="r", allow_pickle=False)
    positions: npt.NDArray[np.int64] = np.load(index, allow_pickle=False)
    return mapped, positions


def _write(net: nn.Module, loader: Loader, precision: Precision, values: Path, index: Path) -> None:
    """Computes the vectors; the index is written last, so that its being there says that all is."""
    positions, said = [], time.monotonic()
    total = len(loader.pictures)
    log.info("computing the features of %d pictures once, into %s", total, values)
    with atomic_file(values) as file:
        writer = VectorWriter(file)
        for found in feature_vectors(net, loader, precision):
            writer.add(found.values)
            positions.append(found.indices)
            if time.monotonic() - said > _SAY_EVERY:
                said = time.monotonic()
                log.info("features of %d of %d pictures", sum(map(len, positions)), total)
        writer.finish(loader.pictures.root)
    with atomic_file(index) as file:
        np.save(file, np.concatenate(positions))
