"""Figures for Prometheus, in its text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

import bisect
import collections
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alexnet_fast.serve.models import ModelRegistry
    from alexnet_fast.serve.served_model import ServedModel

# Seconds; from a small net on a GPU to a deadline.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TYPES = {
    "requests_total": "counter",
    "request_seconds": "histogram",
    "resident_memory_bytes": "gauge",
    "start_time_seconds": "gauge",
    "ready": "gauge",
    "queue_images": "gauge",
    "images_total": "counter",
    "batches_total": "counter",
    "part_seconds_total": "counter",
    "batches_by_size_total": "counter",
    "reloads_total": "counter",
}


class Metrics:
    """Counts inference requests by protocol and status; used from the event loop alone."""

    def __init__(self) -> None:
        self._answers: collections.Counter[tuple[str, str]] = collections.Counter()
        self._seconds = {protocol: [0] * (len(_BUCKETS) + 1) for protocol in ("http", "grpc")}
        self._sums = {"http": 0.0, "grpc": 0.0}
        self._started = time.time()

    def count(self, protocol: str, status: str, seconds: float) -> None:
        """Counts one answer to an inference request.

        Args:
            protocol: "http" or "grpc".
            status: HTTP status or name of gRPC's code.
            seconds: From the request's header to the answer.
        """
        self._answers[protocol, status] += 1
        self._seconds[protocol][bisect.bisect_left(_BUCKETS, seconds)] += 1
        self._sums[protocol] += seconds

    def render(self, hub: ModelRegistry) -> str:
        """Returns everything as text."""
        families: dict[str, list[str]] = {name: [] for name in _TYPES}
        samples = [*self._requests(), *_process(self._started), f"ready {int(hub.ready)}"]
        for model in hub.models.values():
            samples += _model(model)
        for sample in samples:
            name = re.split(r"[{ ]", sample)[0]
            families["request_seconds" if name.startswith("request_seconds") else name].append(sample)
        lines = [
            line
            for name, found in families.items()
            for line in (
                f"# TYPE alexnet_fast_{name} {_TYPES[name]}",
                *(f"alexnet_fast_{one}" for one in found),
            )
        ]
        return "\n".join(lines) + "\n"

    def _requests(self) -> Iterator[str]:
        for (protocol, status), count in sorted(self._answers.items()):
            yield f'requests_total{{protocol="{protocol}",status="{status}"}} {count}'
        for protocol, counts in self._seconds.items():
            below = 0
            for bound, count in zip((*map(str, _BUCKETS), "+Inf"), counts, strict=True):
                below += count
                yield f'request_seconds_bucket{{protocol="{protocol}",le="{bound}"}} {below}'
            yield f'request_seconds_sum{{protocol="{protocol}"}} {self._sums[protocol]:.6f}'
            yield f'request_seconds_count{{protocol="{protocol}"}} {below}'


def _process(started: float) -> Iterator[str]:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    yield f"resident_memory_bytes {pages * os.sysconf('SC_PAGE_SIZE')}"
    yield f"start_time_seconds {started:.3f}"


def _model(model: ServedModel) -> Iterator[str]:
    """Returns the figures of the version that answers now."""
    version = model.current
    label = f'model="{model.name}",version="{version.version}"'
    statistics = version.statistics.plain()
    yield f'queue_images{{model="{model.name}"}} {model.queue.waiting}'
    yield f"images_total{{{label}}} {statistics['inference_count']}"
    yield f"batches_total{{{label}}} {statistics['execution_count']}"
    for part, duration in statistics["inference_stats"].items():
        yield f'part_seconds_total{{{label},part="{part}"}} {duration["ns"] / 1e9:.6f}'
    for size, count in sorted(version.statistics.batch_sizes().items()):
        yield f'batches_by_size_total{{{label},size="{size}"}} {count}'
    for taken, count in model.reloads.items():
        yield f'reloads_total{{model="{model.name}",taken="{str(taken).lower()}"}} {count}'
