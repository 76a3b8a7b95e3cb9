"""How often a classifier is right: single-crop and ten-crop, class by class."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from alexnet_fast.inference.classifier import Classifier
from alexnet_fast.pipelines.loader import Loader, nothing_decoded
from alexnet_fast.pipelines.ten_crop import Crops, crop_offsets
from alexnet_fast.utils.arrays import Probabilities


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Share of images that are right.

    Args:
        top1: The likeliest class is right, 0..1.
        top5: The right class is among the five likeliest, 0..1.
        confusion: int64 (classes, classes): rows are true, columns are predicted classes.
    """

    top1: float
    top5: float
    confusion: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation found.

    Args:
        images: Images that were classified; bad ones are not among them.
        by_crops: Accuracy of each kind of crops that was asked for.
        bad_images: Images left out.
        images_per_second: Loading and all crops together.
    """

    images: int
    by_crops: dict[Crops, Accuracy]
    bad_images: int
    images_per_second: float


def evaluate(
    classifier: Classifier,
    loader: Loader,
    crops: Sequence[Crops],
    on_progress: Callable[[int], None] = lambda _: None,
    *,
    jitter: bool = False,
) -> Evaluation:
    """Classifies every image once for each kind of crops.

    Args:
        classifier: The model.
        loader: Of the view "square", over images with the classifier's classes.
        crops: "single", "ten" or both.
        on_progress: Receives the number of images done.
        jitter: As for `Classifier.probabilities`.

    Raises:
        UserError: The classifier cannot take such crops, or no image could be read.
    """
    for kind in crops:
        crop_offsets(classifier.spec, kind)
    tallies = {kind: _Tally(len(classifier.classes)) for kind in crops}
    started = time.perf_counter()
    done = 0
    for batch in loader.epoch(0):
        if len(batch.labels) == 0:
            continue
        labels = batch.labels.cpu().numpy()
        images = batch.images.cpu().numpy()
        for kind, tally in tallies.items():
            tally.add(classifier.probabilities(images, kind, jitter=jitter), labels)
        done += len(labels)
        on_progress(done)
    if not done:
        raise nothing_decoded(loader.images.root)
    return Evaluation(
        images=done,
        by_crops={kind: tally.accuracy() for kind, tally in tallies.items()},
        bad_images=len(loader.bad),
        images_per_second=done / (time.perf_counter() - started),
    )


class _Tally:
    """Counts of right answers."""

    def __init__(self, classes: int) -> None:
        self._confusion = np.zeros((classes, classes), np.int64)
        self._within_five = 0

    def add(self, probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> None:
        """Adds a batch: (N, classes) and (N,)."""
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        np.add.at(self._confusion, (labels, order[:, 0]), 1)
        self._within_five += int((order == labels[:, None]).any(axis=1).sum())

    def accuracy(self) -> Accuracy:
        """Returns the shares."""
        images = int(self._confusion.sum())
        right = int(np.trace(self._confusion))
        return Accuracy(top1=right / images, top5=self._within_five / images, confusion=self._confusion)
