"""Time and memory from the start of a process to its first batch."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alexnet_fast.bench.interleave import OnProgress, ignore_progress, run_interleaved
from alexnet_fast.bench.report import compared, main_figure
from alexnet_fast.errors import UserError
from alexnet_fast.utils.ranges import check_fields

PARTS = ("importing", "listing", "fingerprint", "loader", "first batch")
COLD, WARM = "without a cached list", "with a cached list"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartupBench:
    """What `bench startup` measures.

    Args:
        data: The data set's folder.
        workers: DALI threads.
        batch_size: Images of the first batch.
        runs: Processes with a cached list, and as many without.
        image_key: Field of WebDataset samples that is the image; None for the default.
        label_key: Field of WebDataset samples that holds the label.

    Raises:
        UserError: A number is outside its range.
    """

    data: Path
    workers: int
    batch_size: int
    runs: int
    image_key: str | None = None
    label_key: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)


def measure_startup(bench: StartupBench, on_progress: OnProgress = ignore_progress) -> dict[str, Any]:
    """Starts processes that load one batch, without a cached list and with one in turns.

    Returns:
        The figures of `alexnet-fast bench startup --json`, without hardware and versions: those with a cached
        list, and in "compared" those without.

    Raises:
        UserError: The data cannot be loaded.
    """
    starts: dict[str, list[dict[str, Any]]] = {COLD: [], WARM: []}
    with _cache() as cache:

        def start(kind: str, _: int) -> float:
            if kind == COLD:
                shutil.rmtree(cache, ignore_errors=True)
            starts[kind].append(_start(bench, cache))
            return float(starts[kind][-1]["total"])

        candidates = {kind: functools.partial(start, kind) for kind in starts}
        rates = run_interleaved(candidates, bench.runs, on_progress, warm_up=False)
    (cold,) = compared(rates, WARM, "seconds")
    return {
        "images": starts[WARM][0]["images"],
        "workers": bench.workers,
        "batch_size": bench.batch_size,
        "name": WARM,
        **main_figure(rates[WARM], "seconds"),
        **_details(starts[WARM]),
        "compared": [{**cold, **_details(starts[COLD])}],
    }


def _details(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the largest peak of memory, and the median seconds of each part."""
    return {
        "peak_mib": max(run["peak_mib"] for run in runs),
        "parts": {part: statistics.median(run["seconds"][part] for run in runs) for part in PARTS},
    }


@contextmanager
def _cache() -> Iterator[Path]:
    """Yields a folder for the cached list, so that the user's cache is left alone."""
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
        words = done.stderr.strip().splitlines()[-1:] or [f"it ended with exit code {done.returncode}"]
        raise UserError(f"no first batch of {bench.data}: {words[0]}")
    run: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**run, "total": total}


def main() -> None:
    """Loads the first batch; the arguments are DATA, workers, batch size[, image key, label key]."""
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
        from alexnet_fast.pipelines.dali import loader as dali_loader  # noqa: F401 - to time its import
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
        sampler = EpochSampler(num_images=len(train), batch_size=min(batch_size, len(train)), shuffle=True)
        loader = make_loader(train, AugmentSpec(), "train", sampler, LoaderConfig(workers=workers))
    with timed("first batch"):
        next(loader.epoch(0))
    from alexnet_fast.utils.memory import peak_mib

    print(json.dumps({"images": len(train), "seconds": seconds, "peak_mib": peak_mib()}))  # noqa: T201


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
