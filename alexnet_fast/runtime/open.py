"""What runs an exported model: its TensorRT engine where a GPU is, onnxruntime otherwise."""

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
        metadata: Everything that the model says about itself.
        output_tensors: What it gives, the probabilities first.
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
        """What the probabilities are averaged over."""

    @property
    def backend(self) -> str:
        """What really runs it."""

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
        device: "auto" takes a GPU where there is one: with the engine beside the ONNX file, or else in
            onnxruntime, which warns where it cannot use it. "cpu" takes the ONNX file. "cuda", "cuda:N" and
            "tensorrt" must be there; "tensorrt" takes the engine, or else onnxruntime's TensorRT.
        threads: CPU threads for one call; None for one a core.
        allow_fallback: Where the device is not to be had, warn and run the ONNX file on the CPU.

    Raises:
        UserError: There is no such model, or it is not one of ours.
        UnavailableError: The device is not to be had.
    """
    asked = parse_device(device)
    file = model_file(Path(path))
    try:
        return _open(file, asked, threads)
    except UnavailableError as error:
        onnx = file.with_suffix(ONNX_SUFFIX)
        if not allow_fallback or not onnx.is_file():
            raise
        # Both are in the manifest, so a file of another export is refused.
        model = open_onnx(onnx, device="cpu", threads=threads)
        _log.warning("%s; %s runs %s instead", error.problem, model.backend, onnx)
        return model


def open_onnx(
    path: Path, *, device: str = "auto", threads: int | None = None, allow_fallback: bool = False
) -> OnnxModel:
    """Loads an ONNX file, and never the engine beside it; otherwise as `open_backend`."""
    from alexnet_fast.runtime.onnx_runtime import OnnxModel

    asked = parse_device(device)
    if asked.kind == "cpu" or (asked.kind == "auto" and not gpu_count()):
        return OnnxModel(path, threads=threads)
    # The CUDA provider takes what TensorRT's cannot; which of them has most of the nodes is asked afterwards.
    providers: tuple[ProviderName, ...] = ("tensorrt", "cuda") if asked.kind == "tensorrt" else ("cuda",)
    allowed = allow_fallback or asked.kind == "auto"
    return OnnxModel(path, providers=providers, gpu=asked.gpu, threads=threads, allow_fallback=allowed)


def _open(file: Path, asked: DeviceRequest, threads: int | None) -> Backend:
    """Loads the engine where one is given, or is there and can run; else the ONNX file."""
    engine = file.with_suffix(ENGINE)
    given = file.suffix == ENGINE
    if given and asked.kind == "cpu":
        raise UserError(f"{file} does not run on --device cpu", "give the model.onnx beside it", exit_code=2)
    if not given and (asked.kind == "cpu" or not gpu_count() or not lists_engine(engine)):
        device = f"cuda:{asked.gpu}" if asked.kind == "cuda" else asked.kind
        return open_onnx(file, device=device, threads=threads)
    if asked.gpu:
        raise UserError(
            f"an engine runs on the first GPU, and --device asks for number {asked.gpu}",
            f"set CUDA_VISIBLE_DEVICES={asked.gpu} and give --device cuda",
            exit_code=2,
        )
    from alexnet_fast.runtime.tensorrt_runtime import EngineModel

    return EngineModel(engine)


def model_file(path: Path) -> Path:
    """Returns the file that a path stands for: itself, or the `model.onnx` in a folder.

    Raises:
        UserError: There is none.
    """
    if not path.is_dir():
        return path
    if (path / ONNX_NAME).is_file():
        return path / ONNX_NAME
    raise UserError(f"there is no {ONNX_NAME} in {path}", "write one with `alexnet-fast export`")
