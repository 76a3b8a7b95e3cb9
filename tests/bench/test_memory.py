"""A loader's memory stays what it is, epoch after epoch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.memory import slope

# A batch of 32 in float32 is 18.4 MiB; a loader that forgot one row of one batch an epoch would pass this.
_FLAT = 1.0


def measured(data: Path, *options: str) -> dict[str, object]:
    """Loads 10 + 20 epochs in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", str(data), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=400)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_every_part_takes_processor_time(two_classes: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.processor", str(two_classes), "--runs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    times = json.loads(done.stdout.splitlines()[-1])["processor_microseconds"]
    assert len(times) == 5
    assert all(time > 0 for time in times.values())


def test_a_slope_is_growth_per_epoch() -> None:
    assert slope([100.0, 103.0, 106.0]) == pytest.approx(3.0)
    assert slope([100.0, 101.0, 100.0, 101.0, 100.0]) == 0
    assert slope([100.0] * 8 + [118.0] * 3) == 0
    # What is forgotten every third epoch is growth.
    assert slope([100.0 + 18 * (epoch // 3) for epoch in range(15)]) == pytest.approx(6.0, abs=0.5)


@pytest.mark.soak
def test_memory_is_flat_over_twenty_epochs_and_a_leak_is_seen(
    cells: dict[str, list[Path]], tmp_path: Path, evidence: Callable[..., None]
) -> None:
    """600 real images, 20 epochs behind 10 in which pools fill; the control keeps a batch of each."""
    for kind, files in cells.items():
        (tmp_path / "train" / kind).mkdir(parents=True)
        (tmp_path / "val" / kind).mkdir(parents=True)
        for file in files[:300]:
            (tmp_path / "train" / kind / file.name).symlink_to(file)
        (tmp_path / "val" / kind / files[300].name).symlink_to(files[300])
    ours = measured(tmp_path)
    assert ours["images"] == 600
    assert ours["epochs"] == 30
    leaking = measured(tmp_path, "--keep-checkpoints", "1")
    growth, control = (float(str(one["mib_per_epoch"])) for one in (ours, leaking))
    evidence(
        "memory of a loader",
        n=20,
        mib_per_epoch=round(growth, 3),
        control_mib_per_epoch=round(control, 3),
        limit=_FLAT,
    )
    assert abs(growth) < _FLAT, ours
    assert control > 10 * _FLAT, leaking
