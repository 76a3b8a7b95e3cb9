"""How long a data set takes from the command to its first batch, and how much memory."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alexnet_fast.bench.first_batch import PARTS
from alexnet_fast.bench.interleave import figure
from alexnet_fast.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartupBench:
    """What `bench startup` measures.

    Args:
        data: The data set's folder.
        threads: Of DALI.
        batch_size: Images of the first batch.
        runs: Of each kind.
        image_key: Field of WebDataset samples that is the image; None for the default.
        label_key: Field of WebDataset samples that holds the label.

    Raises:
        UserError: There is no run.
    """

    data: Path
    threads: int
    batch_size: int
    runs: int
    image_key: str | None = None
    label_key: str | None = None

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise UserError(f"--runs {self.runs} is no run", "give 1 or more", exit_code=2)


def measure_startup(bench: StartupBench, show: Callable[[], object] = lambda: None) -> dict[str, Any]:
    """Starts processes that load one batch, without a kept list and with one in turns.

    Returns:
        The figures of `alexnet-fast bench startup --json`, without hardware and versions; "seconds" is the
        time of a whole process that found a kept list.

    Raises:
        UserError: The data cannot be loaded.
    """
    found: dict[str, list[dict[str, Any]]] = {"without a kept list": [], "with a kept list": []}
    with _cache() as cache:
        for _ in range(bench.runs):
            shutil.rmtree(cache, ignore_errors=True)
            for runs in found.values():
                runs.append(_start(bench, cache))
                show()
    warm = figure([run["total"] for run in found["with a kept list"]])
    return {
        "images": found["with a kept list"][0]["images"],
        "threads": bench.threads,
        "batch_size": bench.batch_size,
        "runs": bench.runs,
        "seconds": warm.median,
        "low": warm.low,
        "high": warm.high,
        "compared": [{"name": kind, **_summary(runs)} for kind, runs in found.items()],
    }


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the medians of the seconds, and the largest of the peaks."""
    return {
        "seconds": statistics.median(run["total"] for run in runs),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "parts": {part: statistics.median(run["seconds"][part] for run in runs) for part in PARTS},
    }


@contextmanager
def _cache() -> Iterator[Path]:
    """Yields a folder for the kept list, so that the user's own is left alone."""
    folder = tempfile.mkdtemp(prefix="alexnet-fast-startup-")
    try:
        yield Path(folder) / "cache"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(bench: StartupBench, cache: Path) -> dict[str, Any]:
    """Runs one process to its first batch."""
    words = [sys.executable, "-m", "alexnet_fast.bench.first_batch", str(bench.data)]
    words += [str(bench.threads), str(bench.batch_size), bench.image_key or "", bench.label_key or ""]
    started = time.perf_counter()
    done = subprocess.run(
        words,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    total = time.perf_counter() - started
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"it ended with exit code {done.returncode}"]
        raise UserError(f"no first batch of {bench.data}: {said[0]}")
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**run, "total": total}
