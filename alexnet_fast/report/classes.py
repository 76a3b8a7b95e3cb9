"""Results per class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alexnet_fast.errors import UserError
from alexnet_fast.report.content import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassResult:
    """The results of one class.

    Args:
        name: Name of the class.
        images: Number of its images.
        right: Number of those that were predicted correctly.
        predicted: Number of images that were predicted as this class.
        recall: `right / images`; None without images.
        precision: `right / predicted`; None without predictions.
    """

    name: str
    images: int
    right: int
    predicted: int
    recall: float | None
    precision: float | None


def class_results(confusion: npt.NDArray[np.int64], classes: Sequence[str]) -> tuple[ClassResult, ...]:
    """Returns the results of each class from a confusion matrix.

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
    """Returns a table of all classes in order, or, of many, those of the lowest recall.

    Args:
        results: From `class_results`.
        most: Maximum number of rows.
    """
    caption = "Per class"
    if len(results) > most:
        tested = sorted(
            (result for result in results if result.images), key=lambda result: result.recall or 0.0
        )
        caption = f"The {min(most, len(tested))} classes of lowest recall, of {len(results)}"
        results = tested[:most]
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
    """Returns a fraction with three digits, or a dash for None."""
    return "-" if share is None else f"{share:.3f}"
