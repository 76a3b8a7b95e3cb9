"""Sums of colours that are exact, so that no order of adding them changes a bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from alexnet_fast.pipelines.cpu.pillow import Pixels
from alexnet_fast.pipelines.pca import principal_components

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclasses.dataclass(frozen=True)
class ColourSums:
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
    def of(cls, pixels: Pixels) -> ColourSums:
        """Adds up one image, uint8 (H, W, 3)."""
        channels = [pixels[..., channel].astype(np.int32) for channel in range(3)]
        totals = tuple(int(channel.sum(dtype=np.int64)) for channel in channels)
        products = tuple(int((channels[a] * channels[b]).sum(dtype=np.int64)) for a, b in _PAIRS)
        return cls(channels[0].size, totals, products)

    def __add__(self, other: ColourSums) -> ColourSums:
        return ColourSums(
            self.pixels + other.pixels,
            tuple(a + b for a, b in zip(self.totals, other.totals, strict=True)),
            tuple(a + b for a, b in zip(self.products, other.products, strict=True)),
        )

    def statistics(self) -> tuple[list[float] | None, dict[str, Any] | None]:
        """Returns mean RGB and {"stdev", "eigenvectors"} of the principal components, as JSON values.

        Components are sorted largest first, and rows of the eigenvectors are R, G, B; the same numbers as
        `pipelines.statistics.measure_colours`. Both are None where there is no pixel.
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
