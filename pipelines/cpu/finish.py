"""Finish stage on the CPU: resize, mirror, change colours, normalise.

The plain loader and DALI on the CPU both end here. On a GPU the same arithmetic is in the graph.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch

from alexnet_fast.pipelines.augment.color_jitter import color_transforms
from alexnet_fast.pipelines.cpu.resize import resized_box, resized_view
from alexnet_fast.pipelines.crop_windows import CropWindows, View
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.prefetch import BufferPool, RawBatch
from alexnet_fast.pipelines.sampler import COLOR_PARAMS, MIRROR, SHIFT
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Floats, Pixels

# Values worked on at a time. As float32 they stay in a core's second cache from one pass to the next; and
# torch gives fewer than these (at::internal::GRAIN_SIZE) to no second thread. Its threads wait for each other
# actively: on cores that decode the next images that took ten times as long as the work.
_VALUES = 32768


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """Changes of the pixels of a batch besides cutting: `(matrix @ rgb - mean) / std`, maybe mirrored.

    Args:
        mirror: bool (B,).
        matrix: float32 (B, 3, 3); None for no change of colours.
        mean: float32 (B, 3), subtracted: the spec's mean, less the shift of the PCA jitter, less the offset
            that belongs to the matrix.
    """

    mirror: npt.NDArray[np.bool_]
    matrix: Floats | None
    mean: Floats


def changes_of(random_params: Floats, spec: AugmentSpec, *, random: bool) -> Changes:
    """Returns the changes that random parameters choose; for a view without random parts, the plain mean.

    Args:
        random_params: As in `sampler.BatchIndices`.
        spec: Mean and random parts.
        random: Whether the view is random.
    """
    mean = np.tile(np.array(spec.mean, np.float32), (len(random_params), 1))
    if not random:
        return Changes(mirror=np.zeros(len(random_params), np.bool_), matrix=None, mean=mean)
    # Adding the jitter to every pixel is subtracting a mean that is smaller by it.
    mean -= random_params[:, SHIFT]
    matrix = None
    if spec.color_jitter is not None:
        matrix, offset = color_transforms(random_params[:, COLOR_PARAMS], spec.color_jitter)
        mean -= offset
    return Changes(mirror=random_params[:, MIRROR] > 0, matrix=matrix, mean=mean)


def normalize(pixels_nhwc: torch.Tensor, changes: Changes, spec: AugmentSpec) -> torch.Tensor:
    """Turns pixels into the input of the network.

    Args:
        pixels_nhwc: uint8 (B, S, S, 3), RGB, on the CPU.
        changes: Of these images.
        spec: Standard deviation.

    Returns:
        float32 (B, 3, S, S) in channels_last order.
    """
    batch, height, width, _ = pixels_nhwc.shape
    output = np.empty((batch, height, width * 3), np.float32)
    means, deviations = _row_means(changes, width), _row_deviations(spec, width)
    for position in range(batch):
        _normalize_into(
            output[position], pixels_nhwc[position], means[position], deviations, changes, position
        )
    return torch.from_numpy(output.reshape(batch, height, width, 3)).permute(0, 3, 1, 2)


def _row_means(changes: Changes, width: int) -> Floats:
    """Returns the means to subtract from a row of each image, float32 (B, width * 3)."""
    return np.tile(changes.mean, (1, width))


def _row_deviations(spec: AugmentSpec, width: int) -> Floats | None:
    """Returns the deviations to divide a row by, float32 (width * 3,); None if all are 1."""
    return None if spec.std == (1.0, 1.0, 1.0) else np.tile(np.array(spec.std, np.float32), width)


def _normalize_into(
    output: Floats,
    pixels: torch.Tensor,
    means: Floats,
    deviations: Floats | None,
    changes: Changes,
    position: int,
) -> None:
    """Turns the pixels of one image into the input of the network.

    Args:
        output: float32 (S, S * 3), is filled.
        pixels: uint8 (S, S, 3).
        means: Of this image, of `_row_means`.
        deviations: Of `_row_deviations`.
        changes: Of the batch.
        position: In the batch.
    """
    height, values = output.shape
    step = max(1, (_VALUES - 1) // values)
    mirror = bool(changes.mirror[position])
    matrix = None if changes.matrix is None else changes.matrix[position].T
    for top in range(0, height, step):
        levels = pixels[top : top + step]
        # torch mirrors interleaved pixels in vector registers, numpy byte by byte.
        levels = torch.flip(levels, (1,)) if mirror else levels
        rows = output[top : top + step]
        np.copyto(rows.reshape(-1, values // 3, 3), levels.numpy())
        if matrix is not None:
            rows[...] = (rows.reshape(-1, 3) @ matrix).reshape(rows.shape)
        rows -= means
        if deviations is not None:
            rows /= deviations


class Postprocessor:
    """Finishes batches in threads; the caller's thread is one of them.

    Args:
        view: Which part of the images; a "square" is not normalised.
        config: Threads and precision.
    """

    def __init__(self, view: View, config: LoaderConfig) -> None:
        self._view, self._threads, self._half = view, config.workers, config.half
        self._pool = ThreadPoolExecutor(max(1, config.workers - 1), "finishing")
        self._buffers = BufferPool()

    def finish(self, parts: Sequence[Pixels], batch: RawBatch) -> torch.Tensor:
        """Returns the images of a decoded batch as `Batch` has them.

        Args:
            parts: uint8 (h, w, 3) each: the parts that the windows name.
            batch: A located batch.
        """
        if self._view == "square":
            return self.views(parts, batch.windows)
        changes = changes_of(batch.plan.random_params, batch.spec, random=self._view == "train")
        images = self._images(parts, batch.windows, changes, batch.spec)
        return images.to(torch.float16) if self._half else images

    def views(self, parts: Sequence[Pixels], windows: CropWindows) -> torch.Tensor:
        """Returns what the windows show, uint8 (B, side, side, 3).

        Args:
            parts: As for `finish`.
            windows: Of these images.
        """
        output = self._buffers.get((len(parts), *windows.view_size(), 3), np.uint8)

        def finish(first: int, last: int) -> None:
            for position in range(first, last):
                output[position] = _view(parts[position], windows, position)

        self._in_threads(finish, len(parts))
        return torch.from_numpy(output)

    def _images(
        self, parts: Sequence[Pixels], windows: CropWindows, changes: Changes, spec: AugmentSpec
    ) -> torch.Tensor:
        """Returns what the network sees, float32 (B, 3, side, side) in channels_last order."""
        height, width = windows.view_size()
        output = self._buffers.get((len(parts), height, width * 3), np.float32)
        means, deviations = _row_means(changes, width), _row_deviations(spec, width)

        def finish(first: int, last: int) -> None:
            for position in range(first, last):
                pixels = torch.from_numpy(_view(parts[position], windows, position))
                _normalize_into(output[position], pixels, means[position], deviations, changes, position)

        self._in_threads(finish, len(parts))
        return torch.from_numpy(output.reshape(len(parts), height, width, 3)).permute(0, 3, 1, 2)

    def _in_threads(self, finish: Callable[[int, int], None], images: int) -> None:
        """Gives each thread an equal part of a batch, and waits."""
        ends = np.linspace(0, images, min(self._threads, images) + 1).astype(int).tolist()
        first, *others = itertools.pairwise(ends)
        futures = [self._pool.submit(finish, *span) for span in others]
        finish(*first)
        for future in futures:
            future.result()


def _view(part: Pixels, windows: CropWindows, position: int) -> Pixels:
    """Returns what one window shows of its part."""
    if not windows.needs_resize[position]:
        return part
    size = windows.view_size()
    if windows.aligned[position]:
        return resized_view(part, windows.scale[position], windows.corner[position], size)
    return resized_box(part, windows.roi_start[position], windows.roi_end[position], size)
