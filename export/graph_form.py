"""The forms in which one network is written: each target runs another one fastest."""

from __future__ import annotations

import dataclasses
from typing import Literal

from alexnet_fast.errors import UserError

Precision = Literal["fp32", "tf32", "fp16"]
LrnForm = Literal["band", "sums", "node"]
StemForm = Literal["shared", "plain", "eager"]
Extra = Literal["logits", "features"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphForm:
    """How a graph is written; what it computes is the same.

    Args:
        precision: Type of the weights and activations between the normalised pictures and the logits. "tf32"
            is float32 in the file; the engine's builder rounds.
        lrn: How local response normalisation is written; see `lrn_nodes`.
        stem: "shared" runs the first layers once for all crops as far as that pays, "eager" as far as the
            geometry allows, "plain" crop by crop.
        extras: Outputs besides the probabilities.

    Raises:
        UserError: The LRN operator is asked for in half precision, where its squares overflow.
    """

    precision: Precision = "fp32"
    lrn: LrnForm = "band"
    stem: StemForm = "shared"
    extras: tuple[Extra, ...] = ()

    def __post_init__(self) -> None:
        if self.precision == "fp16" and self.lrn != "sums":
            raise UserError(
                f'LRN as "{self.lrn}" overflows in --precision {self.precision}', 'write it as lrn="sums"'
            )


# What onnxruntime and OpenVINO run fastest on a CPU.
PORTABLE = GraphForm()


def for_tensorrt(precision: Precision) -> GraphForm:
    """Returns the form that TensorRT fuses: fewest nodes, and no overflow in half precision.

    The stem is plain: what sharing it gains on a GPU has not been measured.
    """
    return GraphForm(precision=precision, lrn="sums" if precision == "fp16" else "node", stem="plain")
