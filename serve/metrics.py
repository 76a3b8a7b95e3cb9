"""Prometheus metrics of a server."""

from __future__ import annotations

import bisect
import collections
import itertools
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from alexnet_fast.serve.models import ModelRegistry

# Of the format that `generate_latest` writes by default.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Seconds: from a small net on a GPU to a deadline.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_PREFIX = "alexnet_fast_"


class Metrics(Collector):
    """Counts inference requests, and collects the figures of the models when Prometheus asks.

    `count` runs in the event loop alone. It needs no locks, so it does without prometheus_client's own
    counters, which cost eight times as much per request (4.2 against 0.5 microseconds).

    Args:
        registry: The models of the server.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._requests: collections.Counter[tuple[str, str]] = collections.Counter()
        self._durations = {protocol: [0] * (len(_SECONDS) + 1) for protocol in ("http", "grpc")}
        self._seconds = {"http": 0.0, "grpc": 0.0}
        self._collectors = CollectorRegistry()
        self._collectors.register(self)
        ProcessCollector(registry=self._collectors)

    def count(self, protocol: str, status: str, seconds: float) -> None:
        """Counts one answer to an inference request.

        Args:
            protocol: "http" or "grpc".
            status: HTTP status or name of gRPC's code.
            seconds: From the request's header to the answer.
        """
        self._requests[protocol, status] += 1
        self._durations[protocol][bisect.bisect_left(_SECONDS, seconds)] += 1
        self._seconds[protocol] += seconds

    def render(self) -> bytes:
        """Returns all metrics in Prometheus' text format; see `CONTENT_TYPE`."""
        return generate_latest(self._collectors)

    def collect(self) -> Iterator[Metric]:
        """Returns the metrics of the server and of its models; see `prometheus_client`."""
        requests = CounterMetricFamily(
            f"{_PREFIX}requests", "Inference requests answered.", labels=("protocol", "status")
        )
        for labels, count in sorted(self._requests.items()):
            requests.add_metric(labels, count)
        durations = HistogramMetricFamily(
            f"{_PREFIX}request_duration_seconds", "From the header to the answer.", labels=("protocol",)
        )
        for protocol, counts in self._durations.items():
            durations.add_metric([protocol], _buckets(_SECONDS, counts), self._seconds[protocol])
        ready = GaugeMetricFamily(f"{_PREFIX}ready", "1 while ready, else 0.", self._registry.ready)
        return itertools.chain((requests, durations, ready), _of_models(self._registry))


def _of_models(registry: ModelRegistry) -> Iterable[Metric]:
    """Returns the metrics of the versions that answer now."""
    model, version = ("model",), ("model", "version")
    queue = GaugeMetricFamily(f"{_PREFIX}queue_size", "Images that wait.", labels=model)
    images = CounterMetricFamily(f"{_PREFIX}images", "Images classified.", labels=version)
    batches = CounterMetricFamily(f"{_PREFIX}batches", "Calls of the model.", labels=version)
    stages = SummaryMetricFamily(
        f"{_PREFIX}stage_duration_seconds", "Time per stage of a request.", labels=(*version, "stage")
    )
    sizes = HistogramMetricFamily(f"{_PREFIX}batch_size", "Images per call of the model.", labels=version)
    reloads = CounterMetricFamily(
        f"{_PREFIX}model_reloads", "Newer files served or rejected.", labels=(*model, "result")
    )
    for served in registry.models.values():
        labels = [served.name, served.current.version]
        statistics = served.current.statistics.plain()
        queue.add_metric([served.name], served.queue.waiting)
        images.add_metric(labels, statistics["inference_count"])
        batches.add_metric(labels, statistics["execution_count"])
        for stage, duration in statistics["inference_stats"].items():
            stages.add_metric([*labels, stage], duration["count"], duration["ns"] / 1e9)
        counts = _batches_by_size(statistics["batch_stats"])
        sizes.add_metric(labels, _buckets(_BATCH_SIZES, counts), statistics["inference_count"])
        for result, count in served.reloads.items():
            reloads.add_metric([served.name, result], count)
    return queue, images, batches, stages, sizes, reloads


def _batches_by_size(batches: list[dict[str, Any]]) -> list[int]:
    """Returns how many batches fell into each bucket of `_BATCH_SIZES`."""
    counts = [0] * (len(_BATCH_SIZES) + 1)
    for batch in batches:
        counts[bisect.bisect_left(_BATCH_SIZES, batch["batch_size"])] += batch["compute_infer"]["count"]
    return counts


def _buckets(bounds: Sequence[float], counts: list[int]) -> list[tuple[str, float]]:
    """Returns cumulative buckets, as Prometheus takes them."""
    return list(zip([*map(str, map(float, bounds)), "+Inf"], itertools.accumulate(counts), strict=True))
