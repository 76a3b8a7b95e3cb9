"""Candidates that take turns, so that changes in the machine's speed affect all of them alike."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

# Batches that a stream yields before the clock starts, at least: more than DALI prepares ahead while others
# have their turn. Each worker of a torch DataLoader prepares two (prefetch_factor's default, and ours):
# https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
_SKIPPED, _SKIPPED_PER_WORKER = 8, 2

Rates = dict[str, list[float]]
OnProgress = Callable[[int, int], object]


def ignore_progress(done: int, total: int) -> None:
    """Takes the turns done and all turns, and shows nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """The runs of a candidate.

    Args:
        median: Median of the runs.
        low: Smallest run.
        high: Largest run.
    """

    median: float
    low: float
    high: float


def run_interleaved(
    candidates: Mapping[str, Callable[[int], float]],
    runs: int,
    on_progress: OnProgress = ignore_progress,
    *,
    warm_up: bool = True,
) -> Rates:
    """Runs all candidates in turns: A B C, A B C and so on.

    Args:
        candidates: By name; each gets the number of the run, 0 for the warm-up, and returns its rate.
        runs: Counted runs per candidate.
        on_progress: Called after each turn with the turns done and all turns.
        warm_up: Whether each runs once before, uncounted.

    Returns:
        The rates of each candidate, run by run.
    """
    rates: Rates = {name: [] for name in candidates}
    numbers = range(0 if warm_up else 1, runs + 1)
    done, total = 0, len(numbers) * len(candidates)
    for run in numbers:
        for name, candidate in candidates.items():
            rate = candidate(run)
            if run:
                rates[name].append(rate)
            done += 1
            on_progress(done, total)
    return rates


def summarize(rates: list[float]) -> Summary:
    """Returns median and spread of a candidate's runs."""
    return Summary(median=statistics.median(rates), low=min(rates), high=max(rates))


def ratio(rates: list[float], other: list[float]) -> Summary:
    """Compares two candidates run by run, so that drifts of the machine's speed cancel out."""
    return summarize([mine / theirs for mine, theirs in zip(rates, other, strict=True)])


def rate_of(stream: Iterator[int], seconds: float, workers: int = 1) -> float:
    """Measures an endless stream of batch sizes after its start and without its prefetched batches.

    Args:
        stream: Yields the number of images in each batch.
        seconds: Minimum duration; the last batch is waited for.
        workers: Threads or worker processes behind the stream, which may have prefetched batches.

    Returns:
        Images per second.
    """
    for _ in range(max(_SKIPPED, _SKIPPED_PER_WORKER * workers)):
        next(stream)
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        done += next(stream)
    return done / passed
