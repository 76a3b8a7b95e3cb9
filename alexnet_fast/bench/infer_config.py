"""Somebody who answers images in `bench infer`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from alexnet_fast.utils.arrays import Pixels

if TYPE_CHECKING:
    from alexnet_fast.runtime.tensorrt_runtime import EngineTimes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """Somebody who answers images.

    Args:
        call: Takes uint8 (N, resize, resize, 3) and has the probabilities on the CPU when it returns.
        backend: What really runs it, as it says itself.
        release: Gives back the memory that a large batch took.
        gpu_times: Returns what the last call took on a GPU, the ways there and back apart; None on a CPU.
    """

    call: Callable[[Pixels], object]
    backend: str
    release: Callable[[], object] = lambda: None
    gpu_times: Callable[[], EngineTimes] | None = None
