"""Memory for the outputs of an engine that nobody reads: TensorRT writes every output that it has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from alexnet_fast.export.metadata import OUTPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alexnet_fast.export.cuda_memory import Cuda
    from alexnet_fast.export.manifest import TensorInfo

# Of int64, the widest type of an output (`top_classes`).
_WIDEST_BYTES = 8


def bind_unread_outputs(context: Any, cuda: Cuda, outputs: Sequence[TensorInfo], most: int) -> list[int]:
    """Gives an execution context a place for each output but the probabilities.

    Args:
        context: An IExecutionContext.
        cuda: The GPU that it is on.
        outputs: The engine's, from its manifest.
        most: Pictures in the largest batch.

    Returns:
        The addresses, to be freed with the context.
    """
    addresses = []
    for tensor in outputs:
        if tensor.name == OUTPUT:
            continue
        addresses.append(cuda.allocate(most * math.prod(tensor.shape[1:]) * _WIDEST_BYTES))
        context.set_tensor_address(tensor.name, addresses[-1])
    return addresses
