"""The answer to an inference request: probabilities, or the likeliest classes as text."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING

import numpy as np

from alexnet_fast.serve.prediction import likeliest

if TYPE_CHECKING:
    from alexnet_fast.serve.infer_request import RequestedOutput
    from alexnet_fast.serve.prediction import Probabilities


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferAnswer:
    """What a model says about the pictures of one request.

    Args:
        model: Name of the model.
        version: The version that answered.
        id: Identifier of the request.
        output: How the output is wanted.
        classes: Names of the classes.
        probabilities: float32 (N, classes).
    """

    model: str
    version: str
    id: str | None
    output: RequestedOutput
    classes: tuple[str, ...]
    probabilities: Probabilities

    @property
    def datatype(self) -> str:
        """As the protocol writes it."""
        return "BYTES" if self.output.top else "FP32"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output."""
        count, classes = self.probabilities.shape
        return (count, min(self.output.top or classes, classes))

    def values(self) -> list[float] | list[str]:
        """Returns the output as a flat list."""
        if self.output.top:
            return self.labels()
        flat: list[float] = self.probabilities.ravel().tolist()
        return flat

    def binary(self) -> bytes:
        """Returns the output in the binary form of the protocol."""
        if not self.output.top:
            return np.ascontiguousarray(self.probabilities, "<f4").tobytes()
        texts = [label.encode() for label in self.labels()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)

    def labels(self) -> list[str]:
        """Returns "probability:index:name" of the likeliest classes of each picture, best first.

        The form is that of the classification extension of the protocol.
        """
        return [
            f"{guess.probability:f}:{guess.index}:{guess.label}"
            for row in self.probabilities
            for guess in likeliest(row, self.classes, self.output.top)
        ]
