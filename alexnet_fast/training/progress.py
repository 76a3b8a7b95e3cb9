"""What the progress line shows of a run."""

from __future__ import annotations

import dataclasses

from alexnet_fast.training.meter import Score


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """What the progress line shows.

    Args:
        epoch: Counted from 1.
        step: Steps done in this epoch.
        steps: Steps an epoch.
        train: Averages of this epoch so far.
        lr: Learning rate.
        images_per_second: Since the third step after the epoch began or was taken up; till then all warms up.
        waiting: Share of this epoch's time that was spent waiting for data, 0..1.
    """

    epoch: int
    step: int
    steps: int
    train: Score
    lr: float
    images_per_second: float
    waiting: float
