"""Mean and principal components of a data set's colours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.augment.pca import principal_components
from alexnet_fast.pipelines.spec import PcaJitter, Triple
from alexnet_fast.utils.arrays import Doubles, Pixels

if TYPE_CHECKING:
    from alexnet_fast.pipelines.loader import Batch

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorStats:
    """Average colours of the training images, on the 0..255 scale.

    Args:
        mean: Mean of R, G, B.
        jitter: Standard deviations along the principal components, and the components.
    """

    mean: Triple
    jitter: PcaJitter


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
        """Adds up the pixels of one image or of a batch, uint8 (..., 3)."""
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

    def stats(self) -> ColorStats:
        """Returns the mean and the principal components.

        Raises:
            UserError: There is no pixel.
        """
        if not self.pixels:
            raise UserError("no image to take colour statistics of", "check the training folder")
        mean = np.array([total / self.pixels for total in self.totals])
        covariance = np.zeros((3, 3))
        for (a, b), product in zip(_PAIRS, self.products, strict=True):
            # Whole numbers up to the division: the difference of two large ones would lose digits as floats.
            exact = product * self.pixels - self.totals[a] * self.totals[b]
            covariance[a, b] = covariance[b, a] = exact / self.pixels**2
        stdev, vectors = principal_components(covariance)
        red, green, blue = map(_triple, vectors)
        return ColorStats(
            mean=_triple(mean), jitter=PcaJitter(stdev=_triple(stdev), eigenvectors=(red, green, blue))
        )

    def statistics(self) -> tuple[list[float] | None, dict[str, Any] | None]:
        """Returns mean RGB and {"stdev", "eigenvectors"} of the principal components, as JSON values.

        Components are sorted largest first; rows of the eigenvectors are R, G, B. Both values are None if
        there is no pixel.
        """
        if not self.pixels:
            return None, None
        stats = self.stats()
        jitter = stats.jitter
        return list(stats.mean), {
            "stdev": list(jitter.stdev),
            "eigenvectors": [list(row) for row in jitter.eigenvectors],
        }


def measure_colors(batches: Iterable[Batch]) -> ColorStats:
    """Takes mean and covariance over every pixel of uint8 (B, H, W, 3) batches.

    Raises:
        UserError: There is no pixel.
    """
    return sum((ColorSums.of(batch.images.cpu().numpy()) for batch in batches), ColorSums()).stats()


def _triple(values: Doubles) -> Triple:
    """Returns three plain floats."""
    return (float(values[0]), float(values[1]), float(values[2]))
