"""A TensorRT engine: images in, class probabilities out, behind the face of `OnnxModel`.

    model = EngineModel(Path("model.engine"))
    probabilities_nk = model.run(images_nhwc)

The manifest is checked before a byte of the engine is handed to TensorRT. Imports neither torch nor DALI.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.runtime import cuda as cuda_driver
from alexnet_fast.runtime.base import ModelInfo
from alexnet_fast.runtime.cuda_memory import Cuda
from alexnet_fast.runtime.engine_context import EngineContext
from alexnet_fast.runtime.manifest import verify_manifest
from alexnet_fast.runtime.metadata import OUTPUT, GraphMetadata
from alexnet_fast.runtime.onnx_runtime import check_images
from alexnet_fast.runtime.tensor_types import TENSOR_TYPES, Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.runtime.engine_context import EngineTimes
    from alexnet_fast.runtime.manifest import Manifest
    from alexnet_fast.runtime.onnx_runtime import Images, Probabilities

_BUILD_AGAIN = "build it again with `alexnet-fast export --trt`"


class EngineModel(ModelInfo):
    """A loaded engine.

    Args:
        path: An engine with its manifest beside it.
        cuda_graphs: Record the network's kernels for a batch size once, and launch them in one go.

    Attributes:
        metadata: What the ONNX file that it was built from says about itself.
        output_tensors: What it gives, the probabilities first.

    Raises:
        UserError: Engine and manifest do not fit, it was built by another version or for other GPUs, there is
            no GPU, or TensorRT refuses it.
    """

    def __init__(self, path: Path | str, *, cuda_graphs: bool = False) -> None:
        self.path = Path(path)
        self.manifest = verify_manifest(self.path)
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
        # A context and its buffers answer one call at a time.
        self._lock = threading.Lock()

    @property
    def backend(self) -> str:
        """What runs it, such as "tensorrt_rtx 1.7.1.116 on NVIDIA L4, fp16"."""
        manifest, gpu = self.manifest, cuda_driver.gpus()[0]
        return f"{manifest.library} {manifest.library_version} on {gpu.name}, {manifest.precision}"

    def run(self, images_nhwc: Images) -> Probabilities:
        """Classifies images; may be called from several threads, which wait for each other.

        Args:
            images_nhwc: uint8 (N, resize, resize, 3), RGB; N may be 0, and more than the engine's largest
                batch.

        Returns:
            float32 (N, classes), rows summing to 1.

        Raises:
            UserError: The array has another type or shape, or the GPU fails.
        """
        return self.outputs(images_nhwc, [OUTPUT])[OUTPUT]

    def outputs(self, images_nhwc: Images, names: Sequence[str] | None = None) -> dict[str, Array]:
        """Returns what the engine gives, by name, in its own order.

        Args:
            images_nhwc: As for `run`.
            names: Of the outputs that are copied from the GPU; None for all.

        Raises:
            UserError: As `run`.
        """
        check_images(images_nhwc, self.spec.resize)
        count, most = len(images_nhwc), self._context.most
        answers: dict[str, Array] = {
            one.name: np.empty((count, *one.shape[1:]), TENSOR_TYPES[one.dtype].numpy)
            for one in self.output_tensors
            if names is None or one.name in names
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
        """Returns what the last batch took on the GPU, and what the way there and back took."""
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
    # The logger lives as long as the process: the first that TensorRT was given stays in use.
    engine = trt.Runtime(trt.Logger(trt.Logger.ERROR)).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise UserError(
            f"{manifest.library} {manifest.library_version} refuses {path}",
            f"see its message, or {_BUILD_AGAIN}",
        )
    return engine
