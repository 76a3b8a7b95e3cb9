"""What runs an exported model: its engine where a GPU is, else onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from alexnet_fast.errors import UserError
from alexnet_fast.export.cuda_driver import gpu_count

if TYPE_CHECKING:
    from alexnet_fast.export.metadata import GraphMetadata
    from alexnet_fast.pipelines.crops import Crops
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.serve.onnx_model import Pictures, Probabilities

ONNX_NAME = "model.onnx"
ENGINE_NAME = "model.engine"


class Backend(Protocol):
    """A loaded model.

    Attributes:
        path: The file that was loaded.
        metadata: Everything that the model says about itself.
    """

    path: Path
    metadata: GraphMetadata

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

    def run(self, pictures_nhwc: Pictures) -> Probabilities:
        """Classifies uint8 (N, resize, resize, 3); returns float32 (N, classes); safe in threads."""


def open_backend(path: Path | str, *, device: str = "auto", threads: int | None = None) -> Backend:
    """Loads an exported model.

    Args:
        path: An engine or an ONNX file of ours, or a folder with a `model.onnx`. Of a folder the engine is
            taken where a GPU is and it is wanted.
        device: "auto" takes a GPU where there is one, and warns where it cannot be used; "cpu"; "cuda" or
            "gpu" must be there.
        threads: CPU threads for one call; None for one a core.

    Raises:
        UserError: There is no such model, it is not one of ours, or the device is not to be had.
    """
    asked = device.startswith(("cuda", "gpu"))
    if not asked and device not in ("auto", "cpu"):
        raise UserError(f"--device {device} is not a device", "give auto, cpu or cuda", exit_code=2)
    on_gpu = asked or (device == "auto" and gpu_count() > 0)
    file = Path(path)
    if on_gpu and (file / ENGINE_NAME).is_file():
        file = file / ENGINE_NAME
    if file.suffix == ".engine":
        return _engine(file, device)
    from alexnet_fast.serve.onnx_model import OnnxModel

    file = onnx_file(file)
    if on_gpu:
        return OnnxModel(file, providers=("cuda",), threads=threads, allow_fallback=not asked)
    return OnnxModel(file, threads=threads)


def _engine(file: Path, device: str) -> Backend:
    """Loads an engine.

    Raises:
        UserError: It is to run on the CPU, or cannot be loaded.
    """
    if device == "cpu":
        raise UserError(f"--device cpu: {file} runs on a GPU alone", f"give the {ONNX_NAME} beside it")
    from alexnet_fast.serve.engine_model import EngineModel

    return EngineModel(file)


def onnx_file(path: Path) -> Path:
    """Returns the ONNX file that a path stands for.

    Raises:
        UserError: There is none.
    """
    if not path.is_dir():
        return path
    if (path / ONNX_NAME).is_file():
        return path / ONNX_NAME
    raise UserError(f"there is no {ONNX_NAME} in {path}", "write one with `alexnet-fast export`")
