"""One execution context of a TensorRT engine with its buffers: batches in, outputs out, and times."""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.metadata import INPUT
from alexnet_fast.runtime.tensor_types import TENSOR_TYPES

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Mapping, Sequence

    from alexnet_fast.runtime.cuda_memory import Cuda
    from alexnet_fast.runtime.manifest import BatchProfile, TensorInfo
    from alexnet_fast.runtime.onnx_runtime import Images
    from alexnet_fast.runtime.tensor_types import Array


class EngineTimes(NamedTuple):
    """Milliseconds on the GPU: images to it, the network, outputs back."""

    upload: float
    compute: float
    download: float


class EngineContext:
    """Answers one batch at a time; whoever has several threads lets them wait for each other.

    Args:
        engine: A deserialized ICudaEngine.
        cuda: The GPU that it is on.
        profiles: Its optimisation profiles, in order.
        side: Of the images.
        outputs: The engine's. TensorRT writes every one, read or not.
        cuda_graphs: Record the network's kernels once for a batch size, and launch them in one go.
    """

    def __init__(
        self,
        engine: Any,
        cuda: Cuda,
        profiles: Sequence[BatchProfile],
        side: int,
        outputs: Sequence[TensorInfo],
        *,
        cuda_graphs: bool = False,
    ) -> None:
        self.most = max(profile.max for profile in profiles)
        self._cuda, self._profiles = cuda, profiles
        self._context = engine.create_execution_context()
        self._image = (side, side, 3)
        self._input = cuda.allocate(self.most * side * side * 3)
        self._outputs = {tensor.name: cuda.allocate(self.most * _row_bytes(tensor)) for tensor in outputs}
        self._marks = [cuda.event() for _ in range(4)]
        self._shape: tuple[int, int] | None = None
        self._graphs = cuda_graphs
        self._graph: ctypes.c_void_p | None = None
        # A server drops the context when a newer file takes its place, and goes on for months.
        weakref.finalize(self, _free, cuda, (self._input, *self._outputs.values())).atexit = False

    def run(self, images: Images, answers: Mapping[str, Array]) -> bool:
        """Answers a batch of at most `most` images; returns whether TensorRT could.

        Args:
            images: Contiguous.
            answers: The outputs that are wanted, by name, contiguous; are filled.
        """
        cuda, marks = self._cuda, self._marks
        profile = nearest_profile(self._profiles, len(images))
        # The rows that fill up a batch hold whatever was there: a row's answer depends on its own pixels.
        self._take_shape(profile, max(len(images), self._profiles[profile].min))
        if self._graphs and self._graph is None and not self._capture():
            return False
        cuda.record(marks[0])
        cuda.upload(self._input, images)
        cuda.record(marks[1])
        if self._graph is not None:
            cuda.launch(self._graph)
        elif not self._enqueue():
            return False
        cuda.record(marks[2])
        for name, answer in answers.items():
            cuda.download(answer, self._outputs[name])
        cuda.record(marks[3])
        cuda.wait()
        return True

    def times(self) -> EngineTimes:
        """Returns the times of the last batch."""
        marks = self._marks
        return EngineTimes(*(self._cuda.milliseconds(marks[i], marks[i + 1]) for i in range(3)))

    def _take_shape(self, profile: int, rows: int) -> None:
        if (profile, rows) == self._shape:
            return
        context, cuda = self._context, self._cuda
        if self._graph is not None:
            # A graph holds the addresses and sizes of the batch that it was recorded with.
            cuda.drop(self._graph)
            self._graph = None
        if self._shape is None or self._shape[0] != profile:
            context.set_optimization_profile_async(profile, cuda.stream.value)
            cuda.wait()
        context.set_input_shape(INPUT, (rows, *self._image))
        for name, address in {INPUT: self._input, **self._outputs}.items():
            context.set_tensor_address(name, address)
        self._shape = (profile, rows)

    def _enqueue(self) -> bool:
        return bool(self._context.execute_async_v3(self._cuda.stream.value))

    def _capture(self) -> bool:
        """Records the graph, after one plain run: TensorRT prepares itself in the first run of a shape.

        Raises:
            UserError: The engine cannot be recorded.
        """
        if not self._enqueue():
            return False
        self._cuda.wait()
        self._graph = self._cuda.capture(self._enqueue)
        if self._graph is None:
            raise UserError("this engine cannot be recorded as a CUDA graph", "leave --cuda-graphs out")
        return True


def _row_bytes(tensor: TensorInfo) -> int:
    """Returns what one image's part of an output takes."""
    return math.prod(tensor.shape[1:]) * TENSOR_TYPES[tensor.dtype].numpy.itemsize


def _free(cuda: Cuda, addresses: Sequence[int]) -> None:
    """Gives a context's buffers back, in whichever thread dropped it."""
    cuda.enter()
    for address in addresses:
        cuda.free(address)


def nearest_profile(profiles: Sequence[BatchProfile], count: int) -> int:
    """Returns the number of the profile whose likeliest batch is nearest, by ratio, of those that hold it.

    A batch smaller than every profile takes the one that it fills best.

    Args:
        profiles: At least one.
        count: Images; not more than the largest batch.
    """
    holding = [i for i, one in enumerate(profiles) if one.min <= count <= one.max]
    if not holding:
        return min((i for i, one in enumerate(profiles) if one.max >= count), key=lambda i: profiles[i].min)
    return min(holding, key=lambda i: max(profiles[i].opt / count, count / profiles[i].opt))
