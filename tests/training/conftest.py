"""Short real runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alexnet_fast.training.config import TrainConfig


@pytest.fixture
def config(two_classes: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Makes the options of a run that takes a second an epoch: 48 real pictures, a 64-pixel net."""

    def make(**options: Any) -> TrainConfig:
        defaults: dict[str, Any] = {
            "data": two_classes,
            "run": tmp_path / "run",
            "model": "alexnet-64",
            "resize": 64,
            "crop": 56,
            "epochs": 2,
            "batch_size": 16,
            "seed": 7,
        }
        return TrainConfig(**{**defaults, **options})

    return make
