"""What runs an exported model: its TensorRT engine where a GPU is, onnxruntime otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from alexnet_fast.errors import UserError
from alexnet_fast.export.cuda_driver import gpu_count
from alexnet_fast.export.manifest import vouches_for

if TYPE_CHECKING:
    from alexnet_fast.export.metadata import GraphMetadata
    from alexnet_fast.pipelines.crops import Crops
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.serve.onnx_model import Pictures, Probabilities

ONNX_NAME, ENGINE = "model.onnx", ".engine"


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
        path: An ONNX file of ours, an engine, or a folder with a `model.onnx`.
        device: "auto" takes a GPU where there is one: with the engine beside the ONNX file, or else in
            onnxruntime, which warns where it cannot use it. "cpu" takes the ONNX file; "cuda" or "gpu" must
            be there.
        threads: CPU threads for one call; None for one a core.

    Raises:
        UserError: There is no such model, it is not one of ours, or the device is not to be had.
    """
    from alexnet_fast.serve.onnx_model import OnnxModel

    asked = device.startswith(("cuda", "gpu"))
    if not asked and device not in ("auto", "cpu"):
        raise UserError(f"--device {device} is not a device", "give auto, cpu or cuda", exit_code=2)
    file = model_file(Path(path))
    engine = file.with_suffix(ENGINE)
    if file.suffix == ENGINE or (device != "cpu" and gpu_count() and vouches_for(engine)):
        from alexnet_fast.serve.engine_model import EngineModel

        return EngineModel(engine)
    if asked or (device == "auto" and gpu_count()):
        return OnnxModel(file, providers=("cuda",), threads=threads, allow_fallback=not asked)
    return OnnxModel(file, threads=threads)


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
