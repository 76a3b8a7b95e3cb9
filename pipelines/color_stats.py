"""Mean and principal components of a data set's colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Batch
from alexnet_fast.pipelines.pca import Doubles, principal_components
from alexnet_fast.pipelines.spec import PcaJitter, Triple


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColourStatistics:
    """What the training images look like on average, on the 0..255 scale.

    Args:
        mean: Mean of R, G, B.
        jitter: Standard deviations along the principal components, and the components.
    """

    mean: Triple
    jitter: PcaJitter


def measure_colours(batches: Iterable[Batch]) -> ColourStatistics:
    """Takes mean and covariance over every pixel of uint8 (B, H, W, 3) batches.

    Raises:
        UserError: There is no pixel.
    """
    pixels = 0
    total = torch.zeros(3, dtype=torch.float64)
    squares = torch.zeros(3, 3, dtype=torch.float64)
    for batch in batches:
        rgb = batch.images.reshape(-1, 3).to(torch.float64)
        pixels += len(rgb)
        total += rgb.sum(0).cpu()
        squares += (rgb.T @ rgb).cpu()
    if not pixels:
        raise UserError("no image to take colour statistics of", "check the training folder")
    mean = (total / pixels).numpy()
    covariance = squares.numpy() / pixels - np.outer(mean, mean)
    stdev, vectors = principal_components(covariance)
    jitter = PcaJitter(stdev=_triple(stdev), eigenvectors=_rows(vectors))
    return ColourStatistics(mean=_triple(mean), jitter=jitter)


def _triple(values: Doubles) -> Triple:
    """Returns three plain floats."""
    return (float(values[0]), float(values[1]), float(values[2]))


def _rows(matrix: Doubles) -> tuple[Triple, Triple, Triple]:
    """Returns a 3 x 3 matrix as plain rows."""
    return (_triple(matrix[0]), _triple(matrix[1]), _triple(matrix[2]))
