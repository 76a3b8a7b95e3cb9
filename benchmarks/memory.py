"""Memory of a loader over many epochs: `python -m benchmarks.memory DATA`; prints one JSON object."""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from pathlib import Path

from alexnet_fast.data import open_data
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Batch, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.memory import resident_mib

# Epochs until every pool and buffer has met its largest batch.
WARM_UP = 10


def main() -> None:
    """Loads the training images of DATA epoch by epoch."""
    parser = argparse.ArgumentParser(description="Memory of a loader over many epochs.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=WARM_UP + 20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=int, default=0, help="batches of each epoch that are never let go")
    options = parser.parse_args()
    images = open_data(options.data).train
    sampler = EpochSampler(num_images=len(images), batch_size=options.batch_size, shuffle=True)
    loader = make_loader(images, AugmentSpec(), "train", sampler, LoaderConfig(workers=options.threads))
    held: list[Batch] = []
    resident = []
    for epoch in range(options.epochs):
        for step, batch in enumerate(loader.epoch(epoch)):
            if step < options.keep:
                held.append(batch)
        resident.append(resident_mib())
    report = {"images": len(images), "epochs": options.epochs, "resident_mib": resident}
    print(json.dumps({**report, "mib_per_epoch": slope(resident[WARM_UP:])}))  # noqa: T201 - what it is for


def slope(values: list[float]) -> float:
    """Returns the growth per step: the median slope over all pairs (Theil and Sen).

    A single step, as when a pool takes one more buffer, does not count as growth.
    """
    pairs = itertools.combinations(enumerate(values), 2)
    return statistics.median((late - early) / (after - before) for (before, early), (after, late) in pairs)


if __name__ == "__main__":
    main()
