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

from alexnet_fast.bench.interleave import figure
from alexnet_fast.errors import UserError

PARTS = ("importing", "listing", "fingerprint", "loader", "first batch")


def main() -> None:
    """Loads the first batch of what the arguments name: DATA, workers, batch size[, image key, label key]."""
    data, workers, batch_size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    image_key, label_key = ([*sys.argv[4:6], "", ""])[:2]
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[part] = time.perf_counter() - started

    with timed("importing"):
        from alexnet_fast.data import DatasetFormat, ShardFields, open_data
        from alexnet_fast.pipelines import dali_loader  # noqa: F401 - its import is what is timed
        from alexnet_fast.pipelines.factory import make_loader
        from alexnet_fast.pipelines.loader import LoaderConfig
        from alexnet_fast.pipelines.sampler import EpochSampler
        from alexnet_fast.pipelines.spec import AugmentSpec
    with timed("listing"):
        train = open_data(
            data,
            dataset_format=DatasetFormat(
                fields=ShardFields.from_options(image_key or None, label_key or None)
            ),
        ).train
    with timed("fingerprint"):
        train.fingerprint()
    with timed("loader"):
        schedule = EpochSampler(images=len(train), batch_size=min(batch_size, len(train)), shuffle=True)
        loader = make_loader(train, AugmentSpec(), "train", schedule, LoaderConfig(workers=workers))
    with timed("first batch"):
        next(loader.epoch(0))
    from alexnet_fast.utils.memory import peak_mib

    print(json.dumps({"images": len(train), "seconds": seconds, "peak_mib": peak_mib()}))  # noqa: T201


if __name__ == "__main__":
    from alexnet_fast.errors import UserError

    try:
        main()
    except UserError as error:
        sys.exit(str(error))


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartupBench:
    """What `bench startup` measures.

    Args:
        data: The data set's folder.
        workers: Of DALI.
        batch_size: Images of the first batch.
        runs: Of each kind.
        image_key: Field of WebDataset samples that is the image; None for the default.
        label_key: Field of WebDataset samples that holds the label.

    Raises:
        UserError: There is no run.
    """

    data: Path
    workers: int
    batch_size: int
    runs: int
    image_key: str | None = None
    label_key: str | None = None

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise UserError(f"--runs {self.runs} is no run", "give 1 or more", exit_code=2)


def measure_startup(bench: StartupBench, on_progress: Callable[[], object] = lambda: None) -> dict[str, Any]:
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
                on_progress()
    warm = figure([run["total"] for run in found["with a kept list"]])
    return {
        "images": found["with a kept list"][0]["images"],
        "workers": bench.workers,
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
    directory = tempfile.mkdtemp(prefix="alexnet-fast-startup-")
    try:
        yield Path(directory) / "cache"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _start(bench: StartupBench, cache: Path) -> dict[str, Any]:
    """Runs one process to its first batch."""
    words = [sys.executable, "-m", "alexnet_fast.bench.startup", str(bench.data)]
    words += [str(bench.workers), str(bench.batch_size), bench.image_key or "", bench.label_key or ""]
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
