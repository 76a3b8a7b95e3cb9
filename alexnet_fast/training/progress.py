"""What the progress line shows of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from alexnet_fast.training.metrics import Metrics

Phase = Literal["training", "measuring", "validating"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """What the progress line shows; reported after every optimiser step and every other batch.

    Args:
        epoch: Counted from 1.
        epochs: Of the whole run, at most.
        step: Steps done in this epoch.
        steps: Steps an epoch.
        phase: What the epoch does: it trains, measures batch norm, validates.
        done: Batches done in a phase after training.
        after: Batches of each phase after training, in the order in which they run.
        train: Averages of this epoch, as they were last read from the device.
        lr: Learning rate.
        images_per_second: Since the third step after the epoch began or was taken up; till then all warms up.
        waiting: Share of this epoch's time that was spent waiting for data, 0..1.
    """

    epoch: int
    epochs: int = 1
    step: int
    steps: int
    phase: Phase = "training"
    done: int = 0
    after: Mapping[Phase, int] = dataclasses.field(default_factory=dict)
    train: Metrics
    lr: float
    images_per_second: float
    waiting: float
