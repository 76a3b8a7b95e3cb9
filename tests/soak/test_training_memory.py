"""A whole training's memory stays what it is: loader, steps, validation, checkpoints, TensorBoard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.memory import slope

pytestmark = pytest.mark.soak

WARM_UP, EPOCHS = 10, 20
# MiB an epoch. The control forgets as much as this in each of an epoch's three steps.
FLAT = 1.0


def grown(data: Path, run: Path, leak: int) -> tuple[float, list[float]]:
    """Trains; returns the growth in MiB an epoch behind the warm-up, and the memory of each epoch."""
    script = str(Path(__file__).with_name("training_memory.py"))
    words = [sys.executable, script, str(data), str(run), str(WARM_UP + EPOCHS), str(leak)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "training")}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr[-2000:]
    resident = json.loads(done.stdout.splitlines()[-1])["resident_mib"]
    assert len(resident) == WARM_UP + EPOCHS
    return slope(resident[WARM_UP:]), resident


def test_memory_is_flat_over_twenty_epochs_of_training(
    two_classes: Path, tmp_path: Path, evidence: Callable[..., None]
) -> None:
    ours, resident = grown(two_classes, tmp_path / "run", 0)
    leaking, _ = grown(two_classes, tmp_path / "leaking", int(FLAT * 2**20))
    evidence(
        "memory of training",
        n=EPOCHS,
        mib_per_epoch=round(ours, 3),
        control_mib_per_epoch=round(leaking, 3),
        limit=FLAT,
        first_mib=round(resident[WARM_UP], 1),
        last_mib=round(resident[-1], 1),
    )
    assert abs(ours) < FLAT
    assert leaking > FLAT
