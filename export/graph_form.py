"""The forms in which one network is written: each target runs another one fastest."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from alexnet_fast.export.scales import QuantScales

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8"]
LrnForm = Literal["band", "sums", "node"]
StemForm = Literal["shared", "plain", "eager"]
Target = Literal["onnxruntime", "tensorrt"]
Extra = Literal["logits", "features"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """How a graph is written; what it computes is the same.

    Args:
        precision: Type of the weights and activations between the normalised images and the logits. "tf32"
            is float32 in the file; the engine's builder rounds. "int8" is float32 too, but for the
            convolutions and matrix products, whose factors are rounded to int8.
        lrn: How local response normalisation is written; see `lrn_nodes`.
        stem: "shared" runs the first layers once for all crops as far as that pays, "eager" as far as the
            geometry allows, "plain" crop by crop.
        extras: Outputs besides the probabilities.
        top: Likeliest classes that are an output too: `top_classes`, int64 (batch, top), and
            `top_probabilities`, float32 (batch, top); 0 for none.
        scales: What one step of int8 stands for at each layer, for "int8".
        target: Whose integer kernels "int8" is written for; see `int8_nodes`.

    Raises:
        UserError: Local response normalisation is asked for in a form in which its squares overflow (float16)
            or lose their digits (bfloat16).
        ValueError: int8 without scales, or scales without int8.
    """

    precision: Precision = "fp32"
    lrn: LrnForm = "band"
    stem: StemForm = "shared"
    extras: tuple[Extra, ...] = ()
    top: int = 0
    scales: QuantScales | None = None
    target: Target = "onnxruntime"

    def __post_init__(self) -> None:
        if self.precision == "fp16" and self.lrn != "sums":
            raise UserError(
                f'LRN as "{self.lrn}" overflows in --precision {self.precision}', 'write it as lrn="sums"'
            )
        if self.precision == "bf16" and self.lrn != "node":
            raise UserError(
                f'LRN as "{self.lrn}" is not known in --precision {self.precision}', 'write it as lrn="node"'
            )
        if (self.precision == "int8") != (self.scales is not None):
            raise ValueError("int8 needs scales, and nothing else does")


# What onnxruntime and OpenVINO run fastest on a CPU.
CPU_CONFIG = GraphConfig()


def for_tensorrt(precision: Precision, scales: QuantScales | None = None) -> GraphConfig:
    """Returns the form that TensorRT fuses: fewest nodes, and no overflow in half precision.

    The stem is plain: what sharing it gains on a GPU has not been measured.

    Args:
        precision: Of the engine.
        scales: For "int8".
    """
    lrn: LrnForm = "sums" if precision == "fp16" else "node"
    return GraphConfig(precision=precision, lrn=lrn, stem="plain", scales=scales, target="tensorrt")
