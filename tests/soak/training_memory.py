"""Trains in a process of its own, and measures its memory at the end of each epoch.

    python training_memory.py DATA RUN EPOCHS LEAK

LEAK is how many bytes of each step are never let go. Prints {"resident_mib": [...]} as its last line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    from alexnet_fast.training.config import TrainConfig
    from alexnet_fast.training.console import Progress
    from alexnet_fast.training.run import train
    from alexnet_fast.utils.memory import resident_mib

    data, run, epochs, leak = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    kept: list[bytearray] = []
    resident: list[float] = []

    def show(progress: Progress) -> None:
        kept.append(bytearray(b"x" * leak))
        # The first step of an epoch is behind everything that the one before it did, checkpoint and all.
        if progress.step == 1:
            resident.append(resident_mib())

    # Its checkpoints are small: copies of a large network move the memory up and down by more than a leak.
    options = {"model": "small_net:Net", "batch_size": 16, "log_interval": 1, "workers": 1}
    config = TrainConfig(
        data=data, run=run, epochs=epochs + 1, lr_patience=1000, lr=0.0001, checkpoint_steps=3, **options
    )
    train(config, on_progress=show)
    print(json.dumps({"resident_mib": resident[1:]}))


if __name__ == "__main__":
    main()
