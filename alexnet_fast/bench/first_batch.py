"""From nothing to the first batch, in a process of its own: `python -m alexnet_fast.bench.first_batch DATA`.

Prints one JSON object: the seconds of each part, and the peak of the memory.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = ("importing", "listing", "fingerprint", "loader", "first batch")


def main() -> None:
    """Loads the first batch of what the arguments name: DATA, threads and batch size."""
    data, threads, batch_size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[part] = time.perf_counter() - started

    with timed("importing"):
        from alexnet_fast.data import open_data
        from alexnet_fast.pipelines import dali_loader  # noqa: F401 - its import is what is timed
        from alexnet_fast.pipelines.loader import LoaderConfig, make_loader
        from alexnet_fast.pipelines.plan import Schedule
        from alexnet_fast.pipelines.spec import AugmentSpec
    with timed("listing"):
        train = open_data(data).train
    with timed("fingerprint"):
        train.fingerprint()
    with timed("loader"):
        schedule = Schedule(pictures=len(train), batch_size=min(batch_size, len(train)), shuffle=True)
        loader = make_loader(train, AugmentSpec(), "train", schedule, LoaderConfig(threads=threads))
    with timed("first batch"):
        next(loader.epoch(0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"images": len(train), "seconds": seconds, "peak_mib": peak / 1024}))  # noqa: T201


if __name__ == "__main__":
    main()
