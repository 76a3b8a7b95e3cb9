"""What the CPU does to decoded parts of images: resize, mirror, change colours, normalise.

On a GPU all of this is in the graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from alexnet_fast.pipelines.cpu.buffers import BufferPool
from alexnet_fast.pipelines.cpu.normalize import (
    Changes,
    changes_of,
    normalise_into,
    row_deviations,
    row_means,
)
from alexnet_fast.pipelines.cpu.resize import resized_box, resized_view
from alexnet_fast.pipelines.crop_windows import CropWindows, View
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import BatchIndices
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Pixels


class Postprocessor:
    """Finishes batches in threads, the caller's among them.

    Args:
        view: Which part of the images; a "square" is not normalised.
        config: Threads and precision.
    """

    def __init__(self, view: View, config: LoaderConfig) -> None:
        self._view, self._threads, self._half = view, config.workers, config.half
        self._pool = ThreadPoolExecutor(max(1, config.workers - 1), "finishing")
        self._buffers = BufferPool()

    def batch(
        self, parts: Sequence[Pixels], windows: CropWindows, plan: BatchIndices, spec: AugmentSpec
    ) -> torch.Tensor:
        """Returns the images of a batch as `Batch` has them.

        Args:
            parts: uint8 (h, w, 3) each: the parts that the windows name.
            windows: Of these images.
            plan: Its random numbers.
            spec: Of its epoch.
        """
        if self._view == "square":
            return self.views(parts, windows)
        changes = changes_of(plan.random_params, spec, random=self._view == "train")
        images = self._images(parts, windows, changes, spec)
        return images.to(torch.float16) if self._half else images

    def views(self, parts: Sequence[Pixels], windows: CropWindows) -> torch.Tensor:
        """Returns what the windows show, uint8 (B, side, side, 3).

        Args:
            parts: As for `batch`.
            windows: Of these images.
        """
        found = self._buffers.get((len(parts), *windows.view_size(), 3), np.uint8)

        def finish(first: int, last: int) -> None:
            for position in range(first, last):
                found[position] = _view(parts[position], windows, position)

        self._share(finish, len(parts))
        return torch.from_numpy(found)

    def _images(
        self, parts: Sequence[Pixels], windows: CropWindows, changes: Changes, spec: AugmentSpec
    ) -> torch.Tensor:
        """Returns what the network sees, float32 (B, 3, side, side) in channels_last order."""
        height, width = windows.view_size()
        found = self._buffers.get((len(parts), height, width * 3), np.float32)
        means, deviations = row_means(changes, width), row_deviations(spec, width)

        def finish(first: int, last: int) -> None:
            for position in range(first, last):
                pixels = torch.from_numpy(_view(parts[position], windows, position))
                normalise_into(found[position], pixels, means[position], deviations, changes, position)

        self._share(finish, len(parts))
        return torch.from_numpy(found.reshape(len(parts), height, width, 3)).permute(0, 3, 1, 2)

    def _share(self, finish: Callable[[int, int], None], images: int) -> None:
        """Gives each thread an equal share of a batch, and waits."""
        ends = np.linspace(0, images, min(self._threads, images) + 1).astype(int).tolist()
        mine, *others = itertools.pairwise(ends)
        shares = [self._pool.submit(finish, *span) for span in others]
        finish(*mine)
        for share in shares:
            share.result()


def _view(part: Pixels, windows: CropWindows, position: int) -> Pixels:
    """Returns what one window shows of its part."""
    if not windows.needs_resize[position]:
        return part
    size = windows.view_size()
    if windows.aligned[position]:
        return resized_view(part, windows.scale[position], windows.corner[position], size)
    return resized_box(part, windows.roi_start[position], windows.roi_end[position], size)
