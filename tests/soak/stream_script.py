"""Loads epochs in a process of its own, and saves its position after every step.

    python stream_script.py DATA dali|torch OUT EPOCHS

Each batch becomes a line "EPOCH STEP SHA-256" in OUT/stream.txt; then OUT/position.json says where to go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from alexnet_fast.utils.atomic import write_atomically


def main() -> None:
    from alexnet_fast.data import open_data
    from alexnet_fast.pipelines.factory import make_loader
    from alexnet_fast.pipelines.loader import LoaderConfig
    from alexnet_fast.pipelines.sampler import EpochSampler
    from alexnet_fast.pipelines.spec import AugmentSpec

    data, kind, out, epochs = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    images = open_data(data).train
    sampler = EpochSampler(num_images=len(images), batch_size=4, shuffle=True, seed=3)
    loader = make_loader(images, AugmentSpec(resize=96, crop=80), "train", sampler, LoaderConfig(kind=kind))
    position = out / "position.json"
    epoch, start = json.loads(position.read_bytes()) if position.exists() else (0, 0)
    for number in range(epoch, epochs):
        for step, batch in enumerate(loader.epoch(number, start), start=start):
            digest = hashlib.sha256(batch.images.contiguous().numpy().tobytes())
            digest.update(batch.labels.numpy().tobytes() + batch.indices.tobytes())
            with (out / "stream.txt").open("a") as file:
                file.write(f"{number} {step} {digest.hexdigest()}\n")
                file.flush()
                os.fsync(file.fileno())
            write_atomically(position, json.dumps([number, step + 1]).encode())
        start = 0
        write_atomically(position, json.dumps([number + 1, 0]).encode())


if __name__ == "__main__":
    main()
