"""What one step of int8 stands for at each quantized layer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Symmetric: zero is zero, and +x and -x are as far from it. TensorRT takes no other int8 (its "Working with
# Quantized Types").
QMAX = 127


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantScales:
    """Steps of int8, each the largest magnitude that it can express divided by 127.

    Args:
        inputs: By the name of a convolution or matrix product: of what it is given.
        outputs: The same of what it gives, behind the ReLU that follows it. Matrix products without one give
            what they compute.
    """

    inputs: Mapping[str, float]
    outputs: Mapping[str, float]
