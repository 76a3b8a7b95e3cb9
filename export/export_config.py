"""What an export shall write, and how."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from alexnet_fast.errors import UserError
from alexnet_fast.export.trt_build import EngineConfig

if TYPE_CHECKING:
    from pathlib import Path

    from alexnet_fast.export.graph_form import Extra, Precision
    from alexnet_fast.pipelines.crops import Crops


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of an export.

    Args:
        output: Folder for model.onnx, model.engine, model.tensorrt.onnx and manifest.json; made where it is
            missing.
        crops: "ten" averages over the ten crops, "five" over those that are no mirror images, "single" takes
            the centre.
        trt: Whether to build an engine too.
        precision: Of the engine; model.onnx is in float32, but for int8, which it is in too.
        extras: Outputs besides the probabilities.
        top: Likeliest classes that are an output too; 0 for none.
        gpu_archs: What the engine is for, such as "86"; None for the GPU that is there, else 80, 86, 89 and
            120.
        engine: Batch sizes and memory of the engine.
        verify: Whether to compare the files with PyTorch on pictures, and fail where one in float32 differs.
        tolerance: Largest difference of a probability that `verify` accepts for float32.
        force: Overwrite files that no export wrote.

    Raises:
        UserError: The options contradict each other.
    """

    output: Path
    crops: Crops = "ten"
    trt: bool = False
    precision: Precision = "fp32"
    extras: tuple[Extra, ...] = ()
    top: int = 0
    gpu_archs: tuple[str, ...] | None = None
    engine: EngineConfig = EngineConfig()  # noqa: RUF009 (frozen)
    verify: bool = False
    tolerance: float = 1e-5
    force: bool = False

    def __post_init__(self) -> None:
        if self.trt:
            return
        for option, given in (
            (f"--precision {self.precision}", self.precision not in ("fp32", "int8")),
            ("--gpu-arch", self.gpu_archs is not None),
        ):
            if given:
                raise UserError(f"{option} is for the engine, and none is built", "add --trt", exit_code=2)
