"""A TensorRT engine: images in, class probabilities out, with the interface of `OnnxModel`.

    model = EngineModel(Path("model.engine"))
    probabilities_nk = model.run(images_nhwc)

The manifest is checked before TensorRT gets a byte of the engine. Imports neither torch nor DALI.
"""

from __future__ import annotations

import importlib
import math
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.runtime import cuda as cuda_driver
from alexnet_fast.runtime.base import ModelInfo
from alexnet_fast.runtime.cuda import Cuda
from alexnet_fast.runtime.manifest import verify_manifest
from alexnet_fast.runtime.metadata import INPUT, OUTPUT, TENSOR_TYPES, GraphMetadata
from alexnet_fast.runtime.onnx_runtime import check_images
from alexnet_fast.utils.arrays import AnyArray

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Mapping, Sequence

    from alexnet_fast.runtime.manifest import BatchProfile, Manifest, TensorInfo
    from alexnet_fast.utils.arrays import Pixels, Probabilities

_BUILD_AGAIN = "build it again with `alexnet-fast export --trt`"


class EngineTimes(NamedTuple):
    """Milliseconds on the GPU: images to it, the network, outputs back."""

    upload: float
    compute: float
    download: float


class EngineContext:
    """Runs one batch at a time; callers with several threads must lock it.

    Args:
        engine: A deserialized ICudaEngine.
        cuda: The GPU that it is on.
        profiles: Its optimisation profiles, in order.
        side: Side of the images.
        outputs: The engine's outputs. TensorRT writes every one, read or not.
        cuda_graphs: Record the network's kernels once per batch size, and launch them in one go.
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
        # A server drops the context when a newer file replaces it, and may run for months.
        weakref.finalize(self, _free, cuda, (self._input, *self._outputs.values())).atexit = False

    def run(self, images: Pixels, answers: Mapping[str, AnyArray]) -> bool:
        """Runs a batch of at most `most` images; returns whether TensorRT could.

        Args:
            images: A contiguous array.
            answers: Contiguous arrays for the requested outputs, by name; they are filled.
        """
        cuda, marks = self._cuda, self._marks
        profile = nearest_profile(self._profiles, len(images))
        # Rows that pad a batch hold arbitrary values: the answer of a row depends only on its own pixels.
        self._set_shape(profile, max(len(images), self._profiles[profile].min))
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

    def _set_shape(self, profile: int, rows: int) -> None:
        if (profile, rows) == self._shape:
            return
        context, cuda = self._context, self._cuda
        if self._graph is not None:
            # A graph contains the addresses and sizes of its batch.
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
        """Records the graph after one plain run, in which TensorRT prepares itself for a new shape.

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
    """Returns the number of bytes of an output per image."""
    return math.prod(tensor.shape[1:]) * TENSOR_TYPES[tensor.dtype].numpy.itemsize


def _free(cuda: Cuda, addresses: Sequence[int]) -> None:
    """Frees a context's buffers, in whichever thread dropped it."""
    cuda.enter()
    for address in addresses:
        cuda.free(address)


def nearest_profile(profiles: Sequence[BatchProfile], count: int) -> int:
    """Returns the index of the profile with the nearest typical batch, by ratio, that holds a batch.

    A batch smaller than every profile takes the one that it fills best.

    Args:
        profiles: At least one profile.
        count: Number of images; at most the largest batch.
    """
    holding = [i for i, profile in enumerate(profiles) if profile.min <= count <= profile.max]
    if not holding:
        return min(
            (i for i, profile in enumerate(profiles) if profile.max >= count), key=lambda i: profiles[i].min
        )
    return min(holding, key=lambda i: max(profiles[i].opt / count, count / profiles[i].opt))


class EngineModel(ModelInfo):
    """A loaded engine.

    Args:
        path: An engine.
        cuda_graphs: Record the network's kernels once per batch size, and launch them in one go.
        manifest: The manifest of an engine that is not published yet; None for the one beside it.

    Attributes:
        metadata: The metadata of the ONNX file that it was built from.
        output_tensors: Its outputs, the probabilities first.

    Raises:
        UserError: The engine does not match its manifest, or TensorRT refuses it.
        UnavailableError: Another version built it, it was built for other GPUs, or there is no GPU.
    """

    def __init__(
        self, path: Path | str, *, cuda_graphs: bool = False, manifest: Manifest | None = None
    ) -> None:
        self.path = Path(path)
        self.manifest = verify_manifest(self.path, manifest=manifest)
        self.metadata = GraphMetadata.from_props(self.manifest.metadata, str(self.path))
        self.output_tensors = self.manifest.outputs
        self._cuda = Cuda()
        _check_gpu(self.path, self.manifest)
        self._engine = _deserialize(self.path, self.manifest)
        profiles = self.manifest.profiles or (self.manifest.batch,)
        self._context = EngineContext(
            self._engine,
            self._cuda,
            profiles,
            self.spec.resize,
            self.output_tensors,
            cuda_graphs=cuda_graphs,
        )
        # A context and its buffers serve one call at a time.
        self._lock = threading.Lock()

    @property
    def backend(self) -> str:
        """The runtime, such as "tensorrt_rtx 1.7.1.116 on NVIDIA L4, fp16"."""
        manifest, gpu = self.manifest, cuda_driver.gpus()[0]
        return f"{manifest.library} {manifest.library_version} on {gpu.name}, {manifest.precision}"

    def run(self, images_nhwc: Pixels) -> Probabilities:
        """Classifies images; calls from several threads run one after the other.

        Args:
            images_nhwc: uint8 (N, resize, resize, 3), RGB; N may be 0, and exceed the engine's largest
                batch.

        Returns:
            float32 (N, classes), rows summing to 1.

        Raises:
            UserError: The array has another type or shape, or the GPU fails.
        """
        return self.outputs(images_nhwc, [OUTPUT])[OUTPUT]

    def outputs(self, images_nhwc: Pixels, names: Sequence[str] | None = None) -> dict[str, AnyArray]:
        """Returns outputs by name, in the engine's order.

        Args:
            images_nhwc: As for `run`.
            names: Names of the outputs to copy from the GPU; None for all.

        Raises:
            UserError: As `run`.
        """
        check_images(images_nhwc, self.spec.resize)
        count, most = len(images_nhwc), self._context.most
        answers: dict[str, AnyArray] = {
            tensor.name: np.empty((count, *tensor.shape[1:]), TENSOR_TYPES[tensor.dtype].numpy)
            for tensor in self.output_tensors
            if names is None or tensor.name in names
        }
        with self._lock:
            self._cuda.enter()
            for first in range(0, count, most):
                part = np.ascontiguousarray(images_nhwc[first : first + most])
                rows = {name: answer[first : first + len(part)] for name, answer in answers.items()}
                if not self._context.run(part, rows):
                    raise UserError(f"TensorRT cannot run {self.path} on {len(part)} image(s)", _BUILD_AGAIN)
        return answers

    def times(self) -> EngineTimes:
        """Returns the times of the last batch: on the GPU, and of the transfers."""
        with self._lock:
            self._cuda.enter()
            return self._context.times()


def _check_gpu(path: Path, manifest: Manifest) -> None:
    gpu = cuda_driver.gpus()[0]
    if gpu.compute_capability not in manifest.compute_capabilities:
        raise UnavailableError(
            f"{path} was built for compute capability {', '.join(manifest.compute_capabilities)};"
            f" {gpu.name} has {gpu.compute_capability}",
            f"build it again with --gpu-arch {gpu.compute_capability}",
        )


def _deserialize(path: Path, manifest: Manifest) -> Any:
    trt = importlib.import_module(manifest.library)
    # TensorRT uses its first logger as long as the process runs.
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise UserError(
            f"{manifest.library} {manifest.library_version} refuses {path}",
            f"see its message, or {_BUILD_AGAIN}",
        )
    return engine
