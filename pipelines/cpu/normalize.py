"""From the pixels of a file to the numbers that a network sees: mirror, colours, mean, standard deviation.

The plain loader and DALI on the CPU both end here. On the GPU the same arithmetic is one DALI operator.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from alexnet_fast.pipelines.color_jitter import color_transforms
from alexnet_fast.pipelines.sampler import COLOR_PARAMS, MIRROR, SHIFT
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Floats

# Values worked on at a time. As float32 they stay in a core's second cache from one pass to the next; and
# torch gives fewer than these (at::internal::GRAIN_SIZE) to no second thread. Its threads wait for each other
# actively: on cores that decode the next images that took ten times as long as the work.
_VALUES = 32768


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """What happens to the pixels of a batch besides cutting: `(matrix @ rgb - mean) / std`, maybe mirrored.

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
    """Returns the changes that random parameters choose, or for a view without random parts the plain mean.

    Args:
        random_params: As in `plan.BatchIndices`.
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


def normalised(pixels_nhwc: torch.Tensor, changes: Changes, spec: AugmentSpec) -> torch.Tensor:
    """Turns pixels into what the network sees.

    Args:
        pixels_nhwc: uint8 (B, S, S, 3), RGB, on the CPU.
        changes: Of these images.
        spec: Standard deviation.

    Returns:
        float32 (B, 3, S, S) in channels_last order.
    """
    batch, height, width, _ = pixels_nhwc.shape
    found = np.empty((batch, height, width * 3), np.float32)
    means, deviations = row_means(changes, width), row_deviations(spec, width)
    for position in range(batch):
        normalise_into(found[position], pixels_nhwc[position], means[position], deviations, changes, position)
    return torch.from_numpy(found.reshape(batch, height, width, 3)).permute(0, 3, 1, 2)


def row_means(changes: Changes, width: int) -> Floats:
    """Returns what is subtracted from a row of each image, float32 (B, width * 3)."""
    return np.tile(changes.mean, (1, width))


def row_deviations(spec: AugmentSpec, width: int) -> Floats | None:
    """Returns what a row is divided by, float32 (width * 3,); None where that changes nothing."""
    return None if spec.std == (1.0, 1.0, 1.0) else np.tile(np.array(spec.std, np.float32), width)


def normalise_into(
    found: Floats,
    pixels: torch.Tensor,
    means: Floats,
    deviations: Floats | None,
    changes: Changes,
    position: int,
) -> None:
    """Turns the pixels of one image into what the network sees.

    Args:
        found: float32 (S, S * 3), is filled.
        pixels: uint8 (S, S, 3).
        means: Of this image, of `row_means`.
        deviations: Of `row_deviations`.
        changes: Of the batch.
        position: In the batch.
    """
    height, values = found.shape
    step = max(1, (_VALUES - 1) // values)
    mirror = bool(changes.mirror[position])
    matrix = None if changes.matrix is None else changes.matrix[position].T
    for top in range(0, height, step):
        levels = pixels[top : top + step]
        # torch mirrors interleaved pixels in vector registers, numpy byte by byte.
        levels = torch.flip(levels, (1,)) if mirror else levels
        rows = found[top : top + step]
        np.copyto(rows.reshape(-1, values // 3, 3), levels.numpy())
        if matrix is not None:
            rows[...] = (rows.reshape(-1, 3) @ matrix).reshape(rows.shape)
        rows -= means
        if deviations is not None:
            rows /= deviations
