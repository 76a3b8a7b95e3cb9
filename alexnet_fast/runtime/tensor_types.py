"""The types of outputs: in a manifest, in numpy, in the V2 protocol, in Triton's configuration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class TensorType(NamedTuple):
    """What one type is called: by numpy (little-endian, as on the wire), the protocol and a configuration."""

    numpy: np.dtype[Any]
    protocol: str
    config: str


# By the name in a manifest; `alexnet-fast export` writes no others.
TENSOR_TYPES = {
    "float": TensorType(np.dtype("<f4"), "FP32", "TYPE_FP32"),
    "int64": TensorType(np.dtype("<i8"), "INT64", "TYPE_INT64"),
}
