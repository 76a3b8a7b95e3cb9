"""Processor time of our graph per stage: `python -m benchmarks.processor DATA` prints JSON.

Unlike images a second it is nearly the same on a machine that has other work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from alexnet_fast.data import ImageList, open_data
from alexnet_fast.pipelines.dali.loader import DaliLoader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec

Epoch = Callable[[int], int]


def main() -> None:
    """Runs each stage over a few epochs, in turns."""
    parser = argparse.ArgumentParser(description="Processor time of each part of our graph.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    images = open_data(given.data).train
    parts = _parts(images, given.batch_size, LoaderConfig(workers=given.threads))
    costs: dict[str, list[float]] = {name: [] for name in parts}
    for epoch in range(given.runs + 1):
        for name, run in parts.items():
            started = time.process_time()
            done = run(epoch)
            if epoch:
                costs[name].append((time.process_time() - started) / done * 1e6)
    medians = {name: statistics.median(times) for name, times in costs.items()}
    print(json.dumps({"images": len(images), "processor_microseconds": medians}))  # noqa: T201


def _parts(images: ImageList, batch_size: int, config: LoaderConfig) -> dict[str, Epoch]:
    """Returns functions that run an epoch up to each stage and return the number of images."""
    sampler = EpochSampler(num_images=len(images), batch_size=batch_size, shuffle=True)
    spec = AugmentSpec()
    whole = DaliLoader(images, spec, "square", sampler, config, stop_after="decoding", region=False)
    reading = DaliLoader(images, spec, "train", sampler, config, stop_after="reading")
    decoding = DaliLoader(images, spec, "train", sampler, config, stop_after="decoding")
    resizing = DaliLoader(images, spec, "train", sampler, config, stop_after="resizing")
    loader = DaliLoader(images, spec, "train", sampler, config)
    return {
        "decoding whole images": lambda epoch: sum(whole.benchmark_stages(epoch)),
        "up to reading": lambda epoch: sum(reading.benchmark_stages(epoch)),
        "up to decoding": lambda epoch: sum(decoding.benchmark_stages(epoch)),
        "up to resizing": lambda epoch: sum(resizing.benchmark_stages(epoch)),
        "everything": lambda epoch: sum(len(batch.labels) for batch in loader.epoch(epoch)),
    }


if __name__ == "__main__":
    main()
