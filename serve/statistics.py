"""What a model did since it was loaded: the figures behind `/stats` and `/metrics`."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Any


@dataclasses.dataclass
class Duration:
    """How often something happened and how long it took together."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Counts `count` events of `ns` nanoseconds each."""
        self.count += count
        self.ns += ns * count

    def plain(self) -> dict[str, int]:
        """Returns the two as the protocol writes them."""
        return {"count": self.count, "ns": self.ns}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Times:
    """Where the time of a request went, in nanoseconds.

    Args:
        queue: From the arrival in the queue to the start of its batch.
        infer: The model's call for the whole batch.
    """

    queue: int
    infer: int


class Statistics:
    """Counts requests and batches of one version of a model; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parts = {
            name: Duration()
            for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
        }
        self._batches: dict[int, Duration] = {}
        self._images = 0
        self._last_ms = 0

    def add_batch(self, images: int, infer_ns: int) -> None:
        """Counts one call of the model."""
        with self._lock:
            self._batches.setdefault(images, Duration()).add(infer_ns)
            self._images += images
            self._last_ms = time.time_ns() // 1_000_000

    def add_success(self, total_ns: int, input_ns: int, times: Times) -> None:
        """Counts one request that was answered."""
        with self._lock:
            self._parts["success"].add(total_ns)
            self._parts["queue"].add(times.queue)
            self._parts["compute_input"].add(input_ns)
            self._parts["compute_infer"].add(times.infer)
            self._parts["compute_output"].add(max(0, total_ns - input_ns - times.queue - times.infer))

    def add_failure(self, total_ns: int) -> None:
        """Counts one request that was not answered."""
        with self._lock:
            self._parts["fail"].add(total_ns)

    def batch_sizes(self) -> dict[int, int]:
        """Returns how many batches there were of each size."""
        with self._lock:
            return {size: duration.count for size, duration in self._batches.items()}

    def plain(self) -> dict[str, Any]:
        """Returns what the statistics extension of the protocol shows of a model."""
        with self._lock:
            none = {"count": 0, "ns": 0}
            return {
                "last_inference": self._last_ms,
                "inference_count": self._images,
                "execution_count": sum(duration.count for duration in self._batches.values()),
                "inference_stats": {
                    **{name: duration.plain() for name, duration in self._parts.items()},
                    "cache_hit": none,
                    "cache_miss": none,
                },
                "batch_stats": [
                    {
                        "batch_size": size,
                        "compute_input": {"count": duration.count, "ns": 0},
                        "compute_infer": duration.plain(),
                        "compute_output": {"count": duration.count, "ns": 0},
                    }
                    for size, duration in sorted(self._batches.items())
                ],
            }
