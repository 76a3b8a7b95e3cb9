"""Opens an exported model: its TensorRT engine if there is a GPU, else its ONNX file in onnxruntime."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from alexnet_fast.errors import UnavailableError, UserError
from alexnet_fast.runtime.base import DeviceRequest, parse_device
from alexnet_fast.runtime.cuda import gpu_count
from alexnet_fast.runtime.manifest import lists_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.runtime.manifest import TensorInfo
    from alexnet_fast.runtime.metadata import GraphMetadata
    from alexnet_fast.runtime.onnx_runtime import OnnxModel, ProviderName
    from alexnet_fast.utils.arrays import AnyArray, Pixels, Probabilities

ONNX_NAME, ONNX_SUFFIX, ENGINE = "model.onnx", ".onnx", ".engine"

_log = logging.getLogger(__name__)


class Backend(Protocol):
    """A loaded model.

    Attributes:
        path: The file that was loaded.
        metadata: The metadata in the file.
        output_tensors: Its outputs, the probabilities first.
    """

    path: Path
    metadata: GraphMetadata
    output_tensors: tuple[TensorInfo, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""

    @property
    def spec(self) -> AugmentSpec:
        """The preprocessing."""

    @property
    def crops(self) -> Crops:
        """The crops that the probabilities are averaged over."""

    @property
    def backend(self) -> str:
        """The runtime that runs it."""

    def run(self, images_nhwc: Pixels) -> Probabilities:
        """Classifies uint8 (N, resize, resize, 3); returns float32 (N, classes); safe in threads."""

    def outputs(self, images_nhwc: Pixels, names: Sequence[str] | None = None) -> dict[str, AnyArray]:
        """Returns the outputs of these names, or all; N rows each; otherwise as `run`."""


def open_backend(
    path: Path | str, *, device: str = "auto", threads: int | None = None, allow_fallback: bool = False
) -> Backend:
    """Loads an exported model.

    Args:
        path: An ONNX file of ours, an engine, or a folder with a `model.onnx`.
        device: "auto" uses a GPU if there is one: with the engine beside the ONNX file, or else in
            onnxruntime, which warns if it cannot use the GPU. "cpu" runs the ONNX file. "cuda", "cuda:N" and
            "tensorrt" must be available; "tensorrt" runs the engine, or else onnxruntime's TensorRT.
        threads: CPU threads for one call; None for one per core.
        allow_fallback: If the device is unavailable, warn and run the ONNX file on the CPU.

    Raises:
        UserError: There is no such model, or it is not one of ours.
        UnavailableError: The device is unavailable.
    """
    request = parse_device(device)
    file = model_file(Path(path))
    try:
        return _open(file, request, threads)
    except UnavailableError as error:
        onnx = file.with_suffix(ONNX_SUFFIX)
        if not allow_fallback or not onnx.is_file():
            raise
        # The manifest lists both, so a file of another export is refused.
        model = open_onnx(onnx, device="cpu", threads=threads)
        _log.warning("%s; %s runs %s instead", error.problem, model.backend, onnx)
        return model


def open_onnx(
    path: Path, *, device: str = "auto", threads: int | None = None, allow_fallback: bool = False
) -> OnnxModel:
    """Loads an ONNX file, and never the engine beside it; otherwise as `open_backend`."""
    from alexnet_fast.runtime.onnx_runtime import OnnxModel

    request = parse_device(device)
    if request.kind == "cpu" or (request.kind == "auto" and not gpu_count()):
        return OnnxModel(path, threads=threads)
    # The CUDA provider runs the nodes that TensorRT's cannot; `check_providers` looks which has the most.
    providers: tuple[ProviderName, ...] = ("tensorrt", "cuda") if request.kind == "tensorrt" else ("cuda",)
    allowed = allow_fallback or request.kind == "auto"
    return OnnxModel(path, providers=providers, gpu=request.gpu, threads=threads, allow_fallback=allowed)


def _open(file: Path, request: DeviceRequest, threads: int | None) -> Backend:
    """Loads the engine if the file is one, or one beside it can run; else the ONNX file."""
    engine = file.with_suffix(ENGINE)
    is_engine = file.suffix == ENGINE
    if is_engine and request.kind == "cpu":
        raise UserError(f"{file} does not run on --device cpu", "give the model.onnx beside it", exit_code=2)
    if not is_engine and (request.kind == "cpu" or not gpu_count() or not lists_engine(engine)):
        device = f"cuda:{request.gpu}" if request.kind == "cuda" else request.kind
        return open_onnx(file, device=device, threads=threads)
    if request.gpu:
        raise UserError(
            f"an engine runs on the first GPU, and --device asks for number {request.gpu}",
            f"set CUDA_VISIBLE_DEVICES={request.gpu} and give --device cuda",
            exit_code=2,
        )
    from alexnet_fast.runtime.tensorrt_runtime import EngineModel

    return EngineModel(engine)


def model_file(path: Path) -> Path:
    """Returns the file of a path: itself, or the `model.onnx` in a folder.

    Raises:
        UserError: The folder has none.
    """
    if not path.is_dir():
        return path
    if (path / ONNX_NAME).is_file():
        return path / ONNX_NAME
    raise UserError(f"there is no {ONNX_NAME} in {path}", "write one with `alexnet-fast export`")
