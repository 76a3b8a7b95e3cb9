"""The answer to an inference request: outputs of the model as numbers, or the likeliest classes as text."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.runtime.prediction import top_k
from alexnet_fast.runtime.tensor_types import TENSOR_TYPES

if TYPE_CHECKING:
    from alexnet_fast.runtime.tensor_types import Array
    from alexnet_fast.serve.v2.types import RequestedOutput

_PROTOCOL_NAMES = {kind.numpy: kind.protocol for kind in TENSOR_TYPES.values()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerTensor:
    """One output for the images of one request.

    Args:
        wanted: Which output, and how.
        array: (N, ...), float32 or int64.
        classes: Names of the classes.
    """

    wanted: RequestedOutput
    array: Array
    classes: tuple[str, ...]

    @property
    def datatype(self) -> str:
        """As the protocol writes it."""
        return "BYTES" if self.wanted.top else _PROTOCOL_NAMES[self.array.dtype]

    @property
    def shape(self) -> tuple[int, ...]:
        """As it is sent."""
        if self.wanted.top:
            return (len(self.array), min(self.wanted.top, len(self.classes)))
        return tuple(self.array.shape)

    def values(self) -> list[Any]:
        """Returns the output as a flat list."""
        if self.wanted.top:
            return self.labels()
        flat: list[Any] = self.array.ravel().tolist()
        return flat

    def binary(self) -> bytes:
        """Returns the output in the binary form of the protocol."""
        if not self.wanted.top:
            return np.ascontiguousarray(self.array).tobytes()
        texts = [label.encode("utf-8", "surrogateescape") for label in self.labels()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)

    def labels(self) -> list[str]:
        """Returns "value:index:name" of the likeliest classes of each image, best first.

        The form is that of the classification extension of the protocol.
        """
        return [
            f"{guess.probability:f}:{guess.index}:{guess.label}"
            for row in self.array
            for guess in top_k(row, self.classes, self.wanted.top)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferAnswer:
    """What a model says about the images of one request.

    Args:
        model: Name of the model.
        version: The version that answered.
        id: Identifier of the request.
        outputs: What it wanted, in its order.
    """

    model: str
    version: str
    id: str | None
    outputs: tuple[AnswerTensor, ...]
