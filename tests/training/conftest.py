"""Short real runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alexnet_fast.training.config import TrainConfig

# 48 images in batches of 8: 6 steps an epoch.
SMALL: dict[str, Any] = {
    "model": "small_net:Net",
    "resize": None,
    "crop": None,
    "batch_size": 8,
    "log_interval": 1,
    "workers": 1,
    "checkpoint_minutes": 0,
    "epochs": 3,
}


@pytest.fixture
def config(two_classes: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Makes the options of a run that takes a second an epoch: 48 real images, a 64-pixel net."""

    def make(**options: Any) -> TrainConfig:
        defaults: dict[str, Any] = {
            "data": two_classes,
            "run": tmp_path / "run",
            "model": "convnet-64",
            "resize": 64,
            "crop": 56,
            "epochs": 2,
            "batch_size": 16,
            "seed": 7,
        }
        return TrainConfig(**{**defaults, **options})

    return make


@pytest.fixture
def small(config: Callable[..., TrainConfig], tmp_path: Path) -> Callable[..., TrainConfig]:
    """Makes the options of a run of a second; `name` is its folder's, which has the run folder in it."""

    def make(name: str, **options: Any) -> TrainConfig:
        return config(run=tmp_path / name / "run", **{**SMALL, **options})

    return make
