"""Somebody who answers images in `bench infer`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.base import parse_device
from alexnet_fast.utils.arrays import Pixels

if TYPE_CHECKING:
    from alexnet_fast.bench.network import Network
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferBench:
    """What `bench infer` measures.

    Args:
        network: The network.
        batch_sizes: Images a call; everybody answers all of the first size, then of the next.
        threads: CPU threads of every candidate.
        runs: Counted calls of each.
        device: Who stands for us: "auto" and "cpu" are onnxruntime on the CPU, "cuda" is its CUDA provider,
            "tensorrt" the engine. With "cpu" nobody runs on a GPU.
        allow_fallback: Where that cannot run, warn and let the CPU stand for us.
        cuda_graphs: Let the engine run as a CUDA graph too.

    Raises:
        UserError: A number is below 1, a batch size is there twice, or the device is none.
    """

    network: Network
    batch_sizes: tuple[int, ...]
    threads: int
    runs: int
    device: str = "auto"
    allow_fallback: bool = False
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        numbers = [("--runs", self.runs), ("--threads", self.threads)]
        for option, value in (*numbers, *(("--batch-size", size) for size in self.batch_sizes)):
            if value < 1:
                raise UserError(f"{option} is {value}", "give 1 or more", exit_code=2)
        if not self.batch_sizes or len(set(self.batch_sizes)) < len(self.batch_sizes):
            raise UserError("--batch-size names a size twice, or none", "give each once", exit_code=2)
        if parse_device(self.device).kind == "cpu" and self.cuda_graphs:
            raise UserError("--cuda-graphs needs a GPU", "leave --device cpu out", exit_code=2)

    def images(self, count: int) -> Pixels:
        """Returns noise: how long a network takes does not depend on what it sees."""
        side = self.network.spec.resize
        return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
