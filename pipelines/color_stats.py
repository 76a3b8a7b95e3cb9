"""Mean and principal components of a data set's colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Batch
from alexnet_fast.pipelines.pca import principal_components
from alexnet_fast.pipelines.spec import PcaJitter, Triple
from alexnet_fast.utils.arrays import Doubles, Pixels

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclasses.dataclass(frozen=True)
class ColorSums:
    """Sums over pixels on the 0..255 scale, as whole numbers of any size.

    Args:
        pixels: Number of pixels.
        totals: Sums of R, G and B.
        products: Sums of RR, RG, RB, GG, GB and BB.
    """

    pixels: int = 0
    totals: tuple[int, ...] = (0, 0, 0)
    products: tuple[int, ...] = (0, 0, 0, 0, 0, 0)

    @classmethod
    def of(cls, pixels: Pixels) -> ColorSums:
        """Adds up one image, uint8 (H, W, 3)."""
        channels = [pixels[..., channel].astype(np.int32) for channel in range(3)]
        totals = tuple(int(channel.sum(dtype=np.int64)) for channel in channels)
        products = tuple(int((channels[a] * channels[b]).sum(dtype=np.int64)) for a, b in _PAIRS)
        return cls(channels[0].size, totals, products)

    def __add__(self, other: ColorSums) -> ColorSums:
        return ColorSums(
            self.pixels + other.pixels,
            tuple(a + b for a, b in zip(self.totals, other.totals, strict=True)),
            tuple(a + b for a, b in zip(self.products, other.products, strict=True)),
        )

    def statistics(self) -> tuple[list[float] | None, dict[str, Any] | None]:
        """Returns mean RGB and {"stdev", "eigenvectors"} of the principal components, as JSON values.

        Components are sorted largest first, and rows of the eigenvectors are R, G, B; the same numbers as
        `pipelines.statistics.measure_colors`. Both are None where there is no pixel.
        """
        if not self.pixels:
            return None, None
        mean = np.array([total / self.pixels for total in self.totals])
        covariance = np.zeros((3, 3))
        for (a, b), product in zip(_PAIRS, self.products, strict=True):
            # Whole numbers up to the division: the difference of two large ones would lose digits as floats.
            exact = product * self.pixels - self.totals[a] * self.totals[b]
            covariance[a, b] = covariance[b, a] = exact / self.pixels**2
        stdev, vectors = principal_components(covariance)
        return mean.tolist(), {"stdev": stdev.tolist(), "eigenvectors": vectors.tolist()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorStats:
    """What the training images look like on average, on the 0..255 scale.

    Args:
        mean: Mean of R, G, B.
        jitter: Standard deviations along the principal components, and the components.
    """

    mean: Triple
    jitter: PcaJitter


def measure_colors(batches: Iterable[Batch]) -> ColorStats:
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
    return ColorStats(mean=_triple(mean), jitter=jitter)


def _triple(values: Doubles) -> Triple:
    """Returns three plain floats."""
    return (float(values[0]), float(values[1]), float(values[2]))


def _rows(matrix: Doubles) -> tuple[Triple, Triple, Triple]:
    """Returns a 3 x 3 matrix as plain rows."""
    return (_triple(matrix[0]), _triple(matrix[1]), _triple(matrix[2]))
