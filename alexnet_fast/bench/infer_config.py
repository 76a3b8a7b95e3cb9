"""Options of `bench infer`, and the candidates that it calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.base import parse_device
from alexnet_fast.utils.arrays import Pixels
from alexnet_fast.utils.ranges import check_fields

if TYPE_CHECKING:
    from alexnet_fast.bench.network import BenchModel
    from alexnet_fast.runtime.tensorrt_runtime import EngineTimes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backend that classifies images.

    Args:
        call: Takes uint8 (N, resize, resize, 3); the probabilities are on the CPU when it returns.
        backend: The backend that runs it, as it reports itself.
        release: Releases the memory that a large batch took.
        gpu_times: Returns the GPU's times of the last call, with the transfers apart; None on a CPU.
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
        batch_sizes: Images per call; all candidates run the first size, then the next.
        threads: CPU threads of every candidate.
        runs: Counted calls per candidate.
        device: Selects our candidate: "auto" and "cpu" are onnxruntime on the CPU, "cuda" is its CUDA
            provider, "tensorrt" the engine. With "cpu" no candidate runs on a GPU.
        allow_fallback: Warn and use the CPU if that candidate cannot run.
        cuda_graphs: Run the engine as a CUDA graph too.

    Raises:
        UserError: A number is outside its range, a batch size is given twice, or the device is unknown.
    """

    network: BenchModel
    batch_sizes: tuple[int, ...]
    threads: int
    runs: int
    device: str = "auto"
    allow_fallback: bool = False
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if min(self.batch_sizes, default=0) < 1 or len(set(self.batch_sizes)) < len(self.batch_sizes):
            raise UserError(
                "--batch-size names a size twice, or none", "give each once, 1 or more", exit_code=2
            )
        if parse_device(self.device).kind == "cpu" and self.cuda_graphs:
            raise UserError("--cuda-graphs needs a GPU", "leave --device cpu out", exit_code=2)

    def images(self, count: int) -> Pixels:
        """Returns noise: the speed of a network does not depend on its input."""
        return random_images(count, self.network.spec.resize)


def random_images(count: int, side: int) -> Pixels:
    """Returns uint8 (count, side, side, 3), the same in every call."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
