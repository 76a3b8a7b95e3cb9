"""Results class by class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alexnet_fast.errors import UserError
from alexnet_fast.report.content import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassResult:
    """How one class fares.

    Args:
        name: Name of the class.
        images: Images of it.
        right: Those of them that were recognised.
        predicted: Images that were taken for it.
        recall: `right / images`; None where there is no image of it.
        precision: `right / predicted`; None where nothing was taken for it.
    """

    name: str
    images: int
    right: int
    predicted: int
    recall: float | None
    precision: float | None


def class_results(confusion: npt.NDArray[np.int64], classes: Sequence[str]) -> tuple[ClassResult, ...]:
    """Reads the results of each class off a confusion matrix.

    Args:
        confusion: int (K, K): rows are true, columns are predicted classes.
        classes: The K names.

    Raises:
        UserError: The matrix is not classes by classes.
    """
    if confusion.shape != (len(classes), len(classes)):
        shape = "x".join(map(str, confusion.shape))
        raise UserError(f"the confusion matrix is {shape} for {len(classes)} class names")
    counts = zip(
        classes,
        confusion.sum(axis=1).tolist(),
        np.diag(confusion).tolist(),
        confusion.sum(axis=0).tolist(),
        strict=True,
    )
    return tuple(
        ClassResult(
            name=name,
            images=images,
            right=right,
            predicted=predicted,
            recall=right / images if images else None,
            precision=right / predicted if predicted else None,
        )
        for name, images, right, predicted in counts
    )


def class_table(results: Sequence[ClassResult], *, most: int = 40) -> Table:
    """Puts results into a table: all classes in order, or where there are many those of the lowest recall.

    Args:
        results: What `class_results` returned.
        most: Rows at the most.
    """
    caption = "Per class"
    if len(results) > most:
        seen = sorted(
            (result for result in results if result.images), key=lambda result: result.recall or 0.0
        )
        caption = f"The {min(most, len(seen))} classes of lowest recall, of {len(results)}"
        results = seen[:most]
    return Table(
        head=("class", "images", "right", "recall", "precision"),
        rows=tuple(
            (
                result.name,
                f"{result.images:,}",
                f"{result.right:,}",
                _share(result.recall),
                _share(result.precision),
            )
            for result in results
        ),
        caption=caption,
    )


def _share(share: float | None) -> str:
    """Returns a share with three digits, a dash where there is none."""
    return "-" if share is None else f"{share:.3f}"
