"""Candidates that take turns, so that a machine's changing speed meets all of them alike."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator, Mapping


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured rate.

    Args:
        median: Over the runs.
        low: Smallest run.
        high: Largest run.
    """

    median: float
    low: float
    high: float


# Batches that are taken before the clock starts, at least: more than DALI prepares ahead while others have
# their turn. Each worker of a torch DataLoader prepares two (prefetch_factor's default, and ours):
# https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
_SKIPPED, _BY_A_WORKER = 8, 2

Rates = dict[str, list[float]]


def run_interleaved(
    candidates: Mapping[str, Callable[[int], float]],
    runs: int,
    on_progress: Callable[[], object] = lambda: None,
) -> Rates:
    """Runs everyone once to warm up, then in turns: A B C, A B C and so on.

    Args:
        candidates: By name; each gets the number of the run (0 is the warm-up) and returns its rate.
        runs: Counted runs of each.
        on_progress: Called after each run.

    Returns:
        The rates of each candidate, run by run.
    """
    rates: Rates = {name: [] for name in candidates}
    for run in range(runs + 1):
        for name, candidate in candidates.items():
            rate = candidate(run)
            if run:
                rates[name].append(rate)
            on_progress()
    return rates


def figure(rates: list[float]) -> Figure:
    """Summarises the runs of a candidate."""
    return Figure(median=statistics.median(rates), low=min(rates), high=max(rates))


def ratio(rates: list[float], other: list[float]) -> Figure:
    """Compares two candidates run by run, which a drift of the machine's speed leaves alone."""
    return figure([mine / theirs for mine, theirs in zip(rates, other, strict=True)])


def rate_of(stream: Iterator[int], seconds: float, threads: int = 1) -> float:
    """Measures an endless stream of batch sizes once it flows: neither a start nor a reserve counts.

    Args:
        stream: Yields how much each batch holds.
        seconds: For how long at least; the last batch is waited for.
        threads: Threads or worker processes behind the stream, which may have prepared some of it.

    Returns:
        Images a second.
    """
    for _ in range(max(_SKIPPED, _BY_A_WORKER * threads)):
        next(stream)
    done, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        done += next(stream)
    return done / passed
