"""From nothing to the first batch, in a process of its own: `python -m alexnet_fast.bench.first_batch DATA`.

Prints one JSON object: the seconds of each part, and the peak of the memory in MiB. What goes wrong
is the last line of stderr.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = ("importing", "listing", "fingerprint", "loader", "first batch")


def main() -> None:
    """Loads the first batch of what the arguments name: DATA, threads, batch size[, image key, label key]."""
    data, threads, batch_size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    image_key, label_key = ([*sys.argv[4:6], "", ""])[:2]
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[part] = time.perf_counter() - started

    with timed("importing"):
        from alexnet_fast.data import Reading, ShardFields, open_data
        from alexnet_fast.pipelines import dali_loader  # noqa: F401 - its import is what is timed
        from alexnet_fast.pipelines.loader import LoaderConfig, make_loader
        from alexnet_fast.pipelines.sampler import EpochSampler
        from alexnet_fast.pipelines.spec import AugmentSpec
    with timed("listing"):
        train = open_data(
            data, reading=Reading(fields=ShardFields.from_options(image_key or None, label_key or None))
        ).train
    with timed("fingerprint"):
        train.fingerprint()
    with timed("loader"):
        schedule = EpochSampler(images=len(train), batch_size=min(batch_size, len(train)), shuffle=True)
        loader = make_loader(train, AugmentSpec(), "train", schedule, LoaderConfig(threads=threads))
    with timed("first batch"):
        next(loader.epoch(0))
    from benchmarks.memory import peak_mib

    print(json.dumps({"images": len(train), "seconds": seconds, "peak_mib": peak_mib()}))  # noqa: T201


if __name__ == "__main__":
    from alexnet_fast.errors import UserError

    try:
        main()
    except UserError as error:
        sys.exit(str(error))
