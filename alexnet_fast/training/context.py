"""What all parts of a training run share: options, device and number type, processes, progress display."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.distributed.group import ALONE, DistributedContext
from alexnet_fast.training.precision import Precision


def _ignore(progress: Progress) -> None:
    """Shows nothing."""
    del progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainContext:
    """The surroundings of one process of a training run.

    Args:
        config: The options.
        precision: Device and number type.
        dist: The processes that train together.
        on_progress: Receives the progress within an epoch.
    """

    config: TrainConfig
    precision: Precision
    dist: DistributedContext = ALONE
    on_progress: Callable[[Progress], None] = _ignore

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.precision.device
