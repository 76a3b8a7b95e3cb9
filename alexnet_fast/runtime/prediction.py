"""The top classes of an image, with their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from alexnet_fast.utils.arrays import Probabilities


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class and its probability.

    Args:
        label: Name of the class.
        index: Its place in the network's output.
        probability: 0..1.
    """

    label: str
    index: int
    probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The classification of a file.

    Args:
        file: Path or name as the caller gave it.
        classes: Most probable first; empty if there is an error.
        error: Why the file could not be classified, or None.
    """

    file: str
    classes: tuple[ClassScore, ...]
    error: str | None = None


def top_k(probabilities: Probabilities, classes: Sequence[str], top: int) -> tuple[ClassScore, ...]:
    """Returns the first few classes; equal ones in the order of their index.

    Args:
        probabilities: float32 (classes,).
        classes: Their names.
        top: Number of classes to return.
    """
    order = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(
        ClassScore(label=classes[index], index=int(index), probability=float(probabilities[index]))
        for index in order
    )
