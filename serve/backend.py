"""What runs an exported model: onnxruntime, on a GPU where one is."""

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
        path: An ONNX file of ours, or a folder with a `model.onnx`.
        device: "auto" takes a GPU where there is one, and warns where it cannot be used; "cpu"; "cuda" or
            "gpu" must be there.
        threads: CPU threads for one call; None for one a core.

    Raises:
        UserError: There is no such model, it is not one of ours, or the device is not to be had.
    """
    from alexnet_fast.serve.onnx_model import OnnxModel

    file = onnx_file(Path(path))
    asked = device.startswith(("cuda", "gpu"))
    if not asked and device not in ("auto", "cpu"):
        raise UserError(f"--device {device} is not a device", "give auto, cpu or cuda", exit_code=2)
    if asked or (device == "auto" and gpu_count()):
        return OnnxModel(file, providers=("cuda",), threads=threads, allow_fallback=not asked)
    return OnnxModel(file, threads=threads)


def onnx_file(path: Path) -> Path:
    """Returns the ONNX file that a path stands for.

    Raises:
        UserError: There is none.
    """
    if path.suffix == ".engine":
        raise UserError(
            f"{path} is a TensorRT engine, which this version builds but does not run",
            "give the model.onnx beside it",
        )
    if not path.is_dir():
        return path
    if (path / ONNX_NAME).is_file():
        return path / ONNX_NAME
    raise UserError(f"there is no {ONNX_NAME} in {path}", "write one with `alexnet-fast export`")
