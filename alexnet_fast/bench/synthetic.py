"""Loaders for benchmarks: always the same batch, or the first batches of an epoch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch

from alexnet_fast.pipelines.loader import BadImages, Batch, Loader


class Repeated(Loader):
    """Repeats one batch, so that only computation is measured.

    Args:
        batch: The batch, on the device.
        steps: Batches per epoch.
    """

    def __init__(self, batch: Batch, steps: int) -> None:
        # `Loader.__init__` needs images; there are none.
        self._batch, self._steps = batch, steps
        self.bad = BadImages("fail")

    def __len__(self) -> int:
        return self._steps

    @property
    def rounds(self) -> int:
        """Batches per epoch, as in this process."""
        return self._steps

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(self._batch.images.shape[1:])

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batch."""
        del epoch
        return itertools.repeat(self._batch, self._steps - start)


class First(Loader):
    """Yields the first batches of each epoch of another loader.

    Args:
        loader: The other loader.
        steps: Batches per epoch.
    """

    def __init__(self, loader: Loader, steps: int) -> None:
        self._loader, self._steps = loader, min(steps, len(loader))
        self.bad = loader.bad

    def __len__(self) -> int:
        return self._steps

    @property
    def rounds(self) -> int:
        """Batches per epoch, as in this process."""
        return self._steps

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the other loader's images."""
        return self._loader.shape

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches from step `start` on."""
        return itertools.islice(self._loader.epoch(epoch, start), self._steps - start)


def synthetic_batch(batch_size: int, side: int, classes: int, device: torch.device, half: bool) -> Batch:
    """Returns noise in the form of a loader's batch.

    Args:
        batch_size: Number of images.
        side: Side of an image, in pixels.
        classes: Number of classes.
        device: Device of the batch.
        half: Use float16 instead of float32 pixels.
    """
    generator = torch.Generator().manual_seed(0)
    # Normalised images have about this spread on the paper's scale of 0 to 255.
    images = torch.randn(batch_size, 3, side, side, generator=generator) * 60.0
    labels = torch.randint(0, classes, (batch_size,), generator=generator)
    images = images.to(device, torch.float16 if half else torch.float32, memory_format=torch.channels_last)
    return Batch(images, labels.to(device), np.arange(batch_size))
