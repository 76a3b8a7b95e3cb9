"""How an engine is built: for which batches, within which memory, and how long the builder may look."""

from __future__ import annotations

import dataclasses

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.manifest import BatchProfile
from alexnet_fast.utils.ranges import OPTION_RANGES

# What `latency` and `throughput` stand for where a profile is asked for; see `BatchProfile`.
NAMED_PROFILES = ("latency", "throughput")
# IBuilderConfig::setBuilderOptimizationLevel in NvInfer.h: 0 to 5, and TensorRT's own default is 3.
MOST_LEVEL = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How an engine is built.

    Args:
        profiles: Smallest, most likely and largest number of images in one call, for each set of kernels;
            the first is what a reader takes that knows of one only.
        workspace_mib: Most memory that one layer may use besides its tensors, in MiB; None for all of the
            GPU's.
        tf32: Whether matrix products of float32 may round their factors to ten bits of mantissa.
        level: The builder's optimisation level, 0 (builds fastest) to 5 (looks longest); None for its own
            default.

    Raises:
        UserError: A value is out of its range, or the sizes of a profile are not in order.
    """

    profiles: tuple[BatchProfile, ...] = (BatchProfile(min=1, opt=8, max=64),)
    workspace_mib: int | None = None
    tf32: bool = False
    level: int | None = None

    def __post_init__(self) -> None:
        if not self.profiles:
            raise UserError("an engine needs a profile", "give one with --profile", exit_code=2)
        for profile in self.profiles:
            _check_order(profile)
        if len(set(self.profiles)) < len(self.profiles):
            raise UserError("a profile is there twice", "give each --profile once", exit_code=2)
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise UserError(f"a workspace of {self.workspace_mib} MiB is none", "give 1 or more", exit_code=2)
        if self.level is not None and not 0 <= self.level <= MOST_LEVEL:
            raise UserError(f"there is no builder level {self.level}", f"give 0 to {MOST_LEVEL}", exit_code=2)


def parse_profile(text: str, max_batch: int) -> BatchProfile:
    """Reads a profile: `min,opt,max`, or a name.

    Args:
        text: Such as "1,8,64"; "latency" is tuned for one image and "throughput" for full batches, and both
            take every batch up to the largest.
        max_batch: That largest batch.

    Raises:
        UserError: It is neither, or its sizes are not in order.
    """
    if text in NAMED_PROFILES:
        return BatchProfile(min=1, opt=1 if text == "latency" else max_batch, max=max_batch)
    try:
        low, likely, high = map(int, text.split(","))
    except ValueError as error:
        raise UserError(
            f"--profile {text} is not three batch sizes",
            f"give MIN,OPT,MAX such as 1,8,64, or {' or '.join(NAMED_PROFILES)}",
            exit_code=2,
        ) from error
    profile = BatchProfile(min=low, opt=likely, max=high)
    _check_order(profile)
    return profile


def _check_order(profile: BatchProfile) -> None:
    low, likely, high = dataclasses.astuple(profile)
    most = OPTION_RANGES["max_batch"].most
    if not 1 <= low <= likely <= high <= most:
        raise UserError(
            f"the batch sizes {low}, {likely}, {high} are not in order",
            f"give the smallest, the most likely and the largest, from 1 to {most:,}",
            exit_code=2,
        )
