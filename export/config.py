"""Options of an export: graph, engine and files."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.manifest import BatchProfile
from alexnet_fast.utils.ranges import OPTION_RANGES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from alexnet_fast.pipelines.ten_crop import Crops

# Names that `parse_profile` takes for a profile.
NAMED_PROFILES = ("latency", "throughput")
# IBuilderConfig::setBuilderOptimizationLevel in NvInfer.h: 0 to 5, and TensorRT's own default is 3.
MOST_LEVEL = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How an engine is built.

    Args:
        profiles: Batch sizes of each set of kernels; readers that know only one profile use the first.
        workspace_mib: Memory limit of one layer besides its tensors, in MiB; None for the GPU's memory.
        tf32: Whether matrix products of float32 may round their factors to ten bits of mantissa.
        level: The builder's optimisation level, 0 (builds fastest) to 5 (searches longest); None for
            TensorRT's default.

    Raises:
        UserError: A value is out of range, or the sizes of a profile are not in order.
    """

    profiles: tuple[BatchProfile, ...] = (BatchProfile(min=1, opt=8, max=64),)
    workspace_mib: int | None = None
    tf32: bool = False
    level: int | None = None

    def __post_init__(self) -> None:
        if not self.profiles:
            raise UserError("an engine needs a profile", "give one with --batch-profile", exit_code=2)
        for profile in self.profiles:
            _check_order(profile)
        if len(set(self.profiles)) < len(self.profiles):
            raise UserError("a --batch-profile is given twice", "give it once", exit_code=2)
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise UserError(
                f"--workspace-mib {self.workspace_mib} is too small", "give 1 or more", exit_code=2
            )
        if self.level is not None and not 0 <= self.level <= MOST_LEVEL:
            raise UserError(
                f"--builder-optimization-level {self.level} does not exist",
                f"give 0 to {MOST_LEVEL}",
                exit_code=2,
            )


def parse_profile(text: str, max_batch_size: int) -> BatchProfile:
    """Reads a profile: `min,opt,max`, or a name.

    Args:
        text: Such as "1,8,64"; "latency" is tuned for one image and "throughput" for full batches. Both
            accept every batch up to `max_batch_size`.
        max_batch_size: The largest batch.

    Raises:
        UserError: The text is neither, or its sizes are not in order.
    """
    if text in NAMED_PROFILES:
        return BatchProfile(min=1, opt=1 if text == "latency" else max_batch_size, max=max_batch_size)
    try:
        low, typical, high = map(int, text.split(","))
    except ValueError as error:
        raise UserError(
            f"--batch-profile {text} is not three batch sizes",
            f"give MIN,OPT,MAX such as 1,8,64, or {' or '.join(NAMED_PROFILES)}",
            exit_code=2,
        ) from error
    profile = BatchProfile(min=low, opt=typical, max=high)
    _check_order(profile)
    return profile


def _check_order(profile: BatchProfile) -> None:
    low, typical, high = dataclasses.astuple(profile)
    most = OPTION_RANGES["max_batch_size"].most
    if not 1 <= low <= typical <= high <= most:
        raise UserError(
            f"the batch sizes {low}, {typical}, {high} are not in order",
            f"give the smallest, the typical and the largest, from 1 to {most:,}",
            exit_code=2,
        )


Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]
LrnForm = Literal["conv", "slices", "op"]
StemForm = Literal["shared", "plain", "eager"]
Target = Literal["onnxruntime", "tensorrt"]
Extra = Literal["logits", "features"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """How a graph is written; every form computes the same.

    Args:
        precision: Type of the weights and activations between the normalised images and the logits. "tf32"
            is float32 in the file; the engine's builder rounds. "int8" is float32 too, but for the
            convolutions and matrix products, whose factors are rounded to int8.
        lrn: How local response normalisation is written: as a 1x1 convolution with a band matrix ("conv"),
            as shifted sums that do not overflow ("slices"), or as the LRN operator ("op"); see `onnx.ops`.
        stem: "shared" runs the first layers once for all crops as far as that pays, "eager" as far as the
            geometry allows, "plain" crop by crop.
        extras: Outputs besides the probabilities.
        top: Number of top classes to return as `top_classes`, int64 (batch, top), and `top_probabilities`,
            float32 (batch, top); 0 for none.
        scales: Scale of int8 at each layer, for "int8".
        target: The runtime whose integer kernels "int8" is written for; see `onnx.ops`.

    Raises:
        UserError: Local response normalisation has a form in which its squares overflow (float16) or lose
            their digits (bfloat16).
        ValueError: int8 without scales, or scales without int8.
    """

    precision: Precision = "fp32"
    lrn: LrnForm = "conv"
    stem: StemForm = "shared"
    extras: tuple[Extra, ...] = ()
    top: int = 0
    scales: QuantScales | None = None
    target: Target = "onnxruntime"

    def __post_init__(self) -> None:
        if self.precision == "fp16" and self.lrn != "slices":
            raise UserError(
                f'LRN as "{self.lrn}" overflows in --precision {self.precision}', 'write it as lrn="slices"'
            )
        if self.precision == "bf16" and self.lrn != "op":
            raise UserError(
                f'LRN as "{self.lrn}" is not available in --precision {self.precision}',
                'write it as lrn="op"',
            )
        if (self.precision == "int8") != (self.scales is not None):
            raise ValueError("int8 needs scales, and nothing else does")


# The fastest form for onnxruntime and OpenVINO on a CPU.
CPU_CONFIG = GraphConfig()


def for_tensorrt(precision: Precision, scales: QuantScales | None = None) -> GraphConfig:
    """Returns the form that TensorRT fuses best: fewest nodes, and no overflow in half precision.

    The stem is plain: the gain of a shared one on a GPU has not been measured.

    Args:
        precision: Precision of the engine.
        scales: Scales for "int8".
    """
    lrn: LrnForm = "slices" if precision == "fp16" else "op"
    return GraphConfig(precision=precision, lrn=lrn, stem="plain", scales=scales, target="tensorrt")


# Symmetric: zero is zero, and +x and -x are as far from it. TensorRT takes no other int8 (its "Working with
# Quantized Types").
QMAX = 127


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantScales:
    """Scales of int8, each the largest magnitude that it can express divided by 127.

    Args:
        inputs: Scale of the input of each convolution and matrix product, by the layer's name.
        outputs: Scale of its output, behind the ReLU that follows it. Matrix products without a ReLU have
            none.
    """

    inputs: Mapping[str, float]
    outputs: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of an export.

    Args:
        output: Folder for model.onnx, model.engine, model.tensorrt.onnx and manifest.json; made if it is
            missing.
        name: Name of the files without extension, "model" above.
        crops: "ten" averages over the ten crops, "five" over the unmirrored ones, "single" takes the centre.
        trt: Whether to build an engine too.
        precision: Precision of the engine; model.onnx is in int8 for "int8", else in float32.
        extras: Outputs besides the probabilities.
        top: Number of top classes to return as further outputs; 0 for none.
        gpu_archs: Architectures of the engine, such as "86"; None for the GPU here, or 80, 86, 89 and 120 if
            there is none.
        engine: Batch sizes, memory and effort of the engine.
        engine_cache: Whether to reuse an engine built from the same graph and options, and to keep this one.
        verify: Whether to measure the accuracy on real images. The files are compared with PyTorch in any
            case.
        device: Device that runs the ONNX files in the comparison; as for `runtime.open.open_onnx`.
        allow_fallback: Fall back to the CPU, with a warning, if `device` is unavailable.
        tolerance: Largest accepted difference of a probability from PyTorch's in float32.
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
    engine: EngineConfig = EngineConfig()
    engine_cache: bool = True
    verify: bool = False
    device: str = "cpu"
    allow_fallback: bool = False
    tolerance: float = 1e-5
    force: bool = False

    def __post_init__(self) -> None:
        if self.trt:
            return
        for option, is_set in (
            (f"--precision {self.precision}", self.precision not in ("fp32", "int8")),
            ("--gpu-arch", self.gpu_archs is not None),
            ("--batch-profile or --max-batch-size", self.engine.profiles != EngineConfig().profiles),
            ("--workspace-mib", self.engine.workspace_mib is not None),
            ("--builder-optimization-level", self.engine.level is not None),
        ):
            if is_set:
                raise UserError(f"{option} is for the engine, and none is built", "add --trt", exit_code=2)
