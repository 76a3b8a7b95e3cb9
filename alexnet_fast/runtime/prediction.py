"""Top classes of an image, with their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from alexnet_fast.utils.arrays import Integers, Probabilities


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class and its probability.

    Args:
        label: Name of the class.
        index: Position in the network's output.
        probability: 0..1.
    """

    label: str
    index: int
    probability: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """Top classes of a file.

    Args:
        file: Path as it was given, or another name of the image.
        classes: Most probable first; empty if there is an error.
        error: Why the file could not be classified, or None.
    """

    file: str
    classes: tuple[ClassScore, ...]
    error: str | None = None


def top_indices(probabilities: Probabilities, k: int) -> Integers:
    """Returns the indices of the k most probable classes, best first; equal ones in the order of their index.

    Args:
        probabilities: (..., classes).
        k: Number of classes; all of them if there are fewer.

    Returns:
        int64 (..., k).
    """
    indices: Integers = np.argsort(-probabilities, axis=-1, kind="stable")[..., :k]
    return indices


def top_k(probabilities: Probabilities, classes: Sequence[str], k: int) -> tuple[ClassScore, ...]:
    """Returns the k most probable classes, best first.

    Args:
        probabilities: float32 (classes,).
        classes: Their names.
        k: Number of classes; all of them if there are fewer.
    """
    return tuple(
        ClassScore(label=classes[index], index=index, probability=float(probabilities[index]))
        for index in top_indices(probabilities, k).tolist()
    )
