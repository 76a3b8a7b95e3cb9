"""What an export shall write, and how."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from alexnet_fast.errors import UserError
from alexnet_fast.export.engine_config import EngineConfig

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.export.graph_form import Extra, Precision
    from alexnet_fast.pipelines.ten_crop import Crops


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of an export.

    Args:
        output: Folder for model.onnx, model.engine, model.tensorrt.onnx and manifest.json; made where it is
            missing.
        name: What the files are called before their endings, "model" above.
        crops: "ten" averages over the ten crops, "five" over those that are no mirror images, "single" takes
            the centre.
        trt: Whether to build an engine too.
        precision: Of the engine; model.onnx is in float32, but for int8, which it is in too.
        extras: Outputs besides the probabilities.
        top: Likeliest classes that are an output too; 0 for none.
        gpu_archs: What the engine is for, such as "86"; None for the GPU that is there, else 80, 86, 89 and
            120.
        engine: Batch sizes, memory and effort of the engine.
        engine_cache: Whether to take an engine that was built before from the same graph and options, and to
            keep this one.
        verify: Whether to measure the accuracy on real images. Compared with PyTorch are the files in any
            case.
        device: What runs the ONNX files in the comparison; as for `backend.open_onnx`.
        allow_fallback: Where `device` is not to be had, warn and take the CPU.
        tolerance: Largest difference of a probability from PyTorch's that is accepted in float32.
        force: Overwrite files that no export wrote.

    Raises:
        UserError: The options contradict each other.
    """

    output: Path
    name: str = "model"
    crops: Crops = "ten"
    trt: bool = False
    precision: Precision = "fp32"
    extras: tuple[Extra, ...] = ()
    top: int = 0
    gpu_archs: tuple[str, ...] | None = None
    engine: EngineConfig = EngineConfig()  # noqa: RUF009 (frozen)
    engine_cache: bool = True
    verify: bool = False
    device: str = "cpu"
    allow_fallback: bool = False
    tolerance: float = 1e-5
    force: bool = False

    def __post_init__(self) -> None:
        if self.trt:
            return
        for option, given in (
            (f"--precision {self.precision}", self.precision not in ("fp32", "int8")),
            ("--gpu-arch", self.gpu_archs is not None),
            ("--profile or --max-batch", self.engine.profiles != EngineConfig().profiles),
            ("--workspace", self.engine.workspace_mib is not None),
            ("--builder-level", self.engine.level is not None),
        ):
            if given:
                raise UserError(f"{option} is for the engine, and none is built", "add --trt", exit_code=2)
