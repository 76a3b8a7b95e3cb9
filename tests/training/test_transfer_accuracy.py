"""Transfer and feature extraction against training from scratch, on the demo's images."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fashion
import pytest
from test_real_accuracy import alexnet_fast

from alexnet_fast.demo.run import lay_out_cells

# The demo's network and recipe at 56 of 64 pixels, where a run takes minutes; the recipe's own 3 epochs.
NET = ("--model", "alexnet-bn-64", "--resize", 64, "--crop", 56, "--checkpoint-minutes", 0)
SCRATCH = ("--recipe", "demo", *NET)
FEATURES = (*SCRATCH, "--linear-probe", "--epochs", 30, "--lr", 0.01)
# Ten epochs of the last layer alone and twelve steps of everything: 65 steps an epoch.
TRANSFER = (
    *SCRATCH,
    *("--finetune", "--freeze-epochs", 10, "--epochs", 11, "--max-steps", 10 * 65 + 12),
    *("--lr-schedule", "plateau", "--lr", 0.002, "--finetune-lr-factor", 0.1, "--precise-bn-batches", 16),
)
PRETRAINING = (
    *NET,
    *(
        "--epochs",
        2,
        "--batch-size",
        64,
        "--lr",
        0.02,
        "--nesterov",
        "--no-bias-weight-decay",
        "--dropout",
        0,
    ),
    *("--lr-schedule", "cosine", "--pca-jitter", "off", "--precise-bn-batches", 8),
)


def processor_seconds(work: Callable[[], Any]) -> float:
    """Returns the processor time of what a function starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.soak
@pytest.mark.skipif(
    not fashion.DIR.is_dir(), reason=f"needs {fashion.DIR}: apt-get install {fashion.PACKAGE}"
)
def test_weights_of_clothes_help_with_cells(tmp_path: Path) -> None:
    """Both reach what training from scratch does, in a third of its time; what each took is printed."""
    fashion.write_fashion(tmp_path / "clothes", train=4_000, val=500, test=10)
    lay_out_cells(tmp_path / "cells")
    alexnet_fast("train", tmp_path / "clothes", *PRETRAINING, "--run", tmp_path / "first")
    accuracy, seconds = {}, {}
    for name, options in (("scratch", SCRATCH), ("features", FEATURES), ("transfer", TRANSFER)):
        words = () if name == "scratch" else ("--weights", tmp_path / "first")
        run = tmp_path / name
        seconds[name] = processor_seconds(
            lambda words=(*options, *words, "--run", run): alexnet_fast("train", tmp_path / "cells", *words)
        )
        found = alexnet_fast("evaluate", run, tmp_path / "cells", "--split", "test", "--single-crop")
        accuracy[name] = found["single_crop"]["top1"]
        print(f"\n{name}: test top-1 {accuracy[name]:.3f}, {seconds[name]:.0f} s of processor time")
    # An image is 0.004, and another seed moves a run by a few of them.
    for name in ("features", "transfer"):
        # An image is 0.004, and another seed moves a run by a few of them.
        assert accuracy[name] >= accuracy["scratch"] - 0.02
        assert seconds[name] <= seconds["scratch"] / 3
