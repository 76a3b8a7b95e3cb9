"""How fast an epoch goes."""

from __future__ import annotations

import time


class ThroughputMeter:
    """Images a second of an epoch, the first steps left out."""

    WARM_UP = 2

    def __init__(self) -> None:
        self._readings = 0
        self._started, self._images = 0.0, 0

    @property
    def warming(self) -> bool:
        """Whether the rate does not count yet; it is then read after every step."""
        return self._readings < self.WARM_UP

    def rate(self, images: int) -> float:
        """Returns the rate since the warm-up, of an epoch that has seen `images`; 0 until then."""
        now = time.perf_counter()
        self._readings += 1
        if self._readings <= self.WARM_UP:
            self._started, self._images = now, images
            return 0.0
        return (images - self._images) / (now - self._started)
