"""From the pixels of a file to the numbers that a network sees: mirror, colours, mean, standard deviation.

The plain loader and DALI on the CPU both end here. On the GPU the same arithmetic is one DALI operator.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch

from alexnet_fast.pipelines.distortion import colour_transforms
from alexnet_fast.pipelines.plan import COLOURS, MIRROR, SHIFT, Floats
from alexnet_fast.pipelines.spec import AugmentSpec

# Rows of a picture worked on at a time: 150 kB of a 224 pixels wide picture, which a core's second cache
# holds from one pass to the next (47 us a picture; 54 in passes over whole pictures; AMD EPYC).
_ROWS = 56


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


def changes_of(draws: Floats, spec: AugmentSpec, *, random: bool) -> Changes:
    """Returns the changes that the draws choose, or for a view without random parts the plain mean.

    Args:
        draws: As in `plan.BatchPlan`.
        spec: Mean and random parts.
        random: Whether the view is random.
    """
    mean = np.tile(np.array(spec.mean, np.float32), (len(draws), 1))
    if not random:
        return Changes(mirror=np.zeros(len(draws), np.bool_), matrix=None, mean=mean)
    # Adding the jitter to every pixel is subtracting a mean that is smaller by it.
    mean -= draws[:, SHIFT]
    matrix = None
    if spec.distortion is not None:
        matrix, offset = colour_transforms(draws[:, COLOURS], spec.distortion)
        mean -= offset
    return Changes(mirror=draws[:, MIRROR] > 0, matrix=matrix, mean=mean)


def normalised(pixels_nhwc: torch.Tensor, changes: Changes, spec: AugmentSpec) -> torch.Tensor:
    """Turns pixels into what the network sees.

    One thread does it, in numpy: torch's threads would wait for each other actively between the short passes,
    on the cores that decode the next pictures.

    Args:
        pixels_nhwc: uint8 (B, S, S, 3), RGB, on the CPU.
        changes: Of these pictures.
        spec: Standard deviation.

    Returns:
        float32 (B, 3, S, S) in channels_last order.
    """
    batch, height, width, _ = pixels_nhwc.shape
    found = np.empty((batch, height, width * 3), np.float32)
    means = np.tile(changes.mean, (1, width))
    std = np.tile(np.array(spec.std, np.float32), width)
    for position, mirror in enumerate(changes.mirror.tolist()):
        # torch mirrors interleaved pixels in vector registers, numpy byte by byte.
        picture = torch.flip(pixels_nhwc[position], (1,)) if mirror else pixels_nhwc[position]
        levels = picture.numpy().reshape(height, width * 3)
        matrix = None if changes.matrix is None else changes.matrix[position].T
        for top in range(0, height, _ROWS):
            rows = found[position, top : top + _ROWS]
            rows[...] = levels[top : top + _ROWS]
            if matrix is not None:
                rows[...] = (rows.reshape(-1, 3) @ matrix).reshape(rows.shape)
            rows -= means[position]
            if spec.std != (1.0, 1.0, 1.0):
                rows /= std
    return torch.from_numpy(found.reshape(batch, height, width, 3)).permute(0, 3, 1, 2)
