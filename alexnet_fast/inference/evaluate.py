"""Classify the labelled images of a loader: accuracy, confusion matrix, misclassified images."""

from __future__ import annotations

import dataclasses
import heapq
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from alexnet_fast.inference.classifier import Classifier
from alexnet_fast.pipelines.loader import Loader, nothing_decoded
from alexnet_fast.pipelines.ten_crop import Crops, crop_offsets
from alexnet_fast.runtime.prediction import ClassScore, top_indices, top_k
from alexnet_fast.utils.arrays import Integers, Pixels, Probabilities

# Classes named for each misclassified image.
_NAMED_CLASSES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Fractions of images that are classified correctly.

    Args:
        top1: The most probable class is right, 0..1.
        top5: The right class is among the five most probable, 0..1.
        confusion: int64 (classes, classes): rows are true, columns are predicted classes.
    """

    top1: float
    top5: float
    confusion: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Result of an evaluation.

    Args:
        images: Images that were classified; bad ones are not among them.
        by_crops: Accuracy for each requested kind of crops.
        bad_images: Images left out.
        images_per_second: Loading and all crops together.
    """

    images: int
    by_crops: dict[Crops, Accuracy]
    bad_images: int
    images_per_second: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Misclassified:
    """An image whose most probable class is wrong.

    Args:
        file: Its path.
        pixels: uint8 (resize, resize, 3): its centre square.
        truth: Name of the right class.
        guesses: Top classes, most probable first.
    """

    file: str
    pixels: Pixels
    truth: str
    guesses: tuple[ClassScore, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifiedBatch:
    """A batch and the answers to it.

    Args:
        indices: int64 (N,), positions in the image list.
        labels: int64 (N,), true classes.
        images: uint8 (N, resize, resize, 3).
        probabilities: float32 (N, classes) for each kind of crops.
    """

    indices: Integers
    labels: Integers
    images: Pixels
    probabilities: dict[Crops, Probabilities]


def classify_batches(
    classifier: Classifier,
    loader: Loader,
    crops: Sequence[Crops],
    on_progress: Callable[[int], None] = lambda _: None,
    *,
    jitter: bool = False,
) -> Iterator[ClassifiedBatch]:
    """Classifies every readable image of a loader once for each kind of crops.

    Args:
        classifier: The model.
        loader: Of the view "square", over images with the classifier's classes.
        crops: "single", "ten" or both.
        on_progress: Receives the number of images classified so far.
        jitter: As for `Classifier.probabilities`.

    Raises:
        UserError: No image could be read.
    """
    done = 0
    for batch in loader.epoch(0):
        if not len(batch.labels):
            continue
        images = batch.images.cpu().numpy()
        probabilities = {kind: classifier.probabilities(images, kind, jitter=jitter) for kind in crops}
        yield ClassifiedBatch(
            indices=batch.indices,
            labels=batch.labels.cpu().numpy(),
            images=images,
            probabilities=probabilities,
        )
        done += len(images)
        on_progress(done)
    if not done:
        raise nothing_decoded(loader.images.root)


def evaluate(
    classifier: Classifier,
    loader: Loader,
    crops: Sequence[Crops],
    on_progress: Callable[[int], None] = lambda _: None,
    *,
    jitter: bool = False,
) -> Evaluation:
    """Measures the accuracy of a classifier; arguments as for `classify_batches`.

    Raises:
        UserError: The classifier cannot take such crops, or no image could be read.
    """
    for kind in crops:
        crop_offsets(classifier.spec, kind)
    tallies = {kind: _Tally(len(classifier.classes)) for kind in crops}
    started = time.perf_counter()
    images = 0
    for batch in classify_batches(classifier, loader, crops, on_progress, jitter=jitter):
        for kind, tally in tallies.items():
            tally.add(batch.probabilities[kind], batch.labels)
        images += len(batch.labels)
    return Evaluation(
        images=images,
        by_crops={kind: tally.accuracy() for kind, tally in tallies.items()},
        bad_images=len(loader.bad),
        images_per_second=images / (time.perf_counter() - started),
    )


class _Tally:
    """Counts of right answers."""

    def __init__(self, classes: int) -> None:
        self._confusion = np.zeros((classes, classes), np.int64)
        self._within_five = 0

    def add(self, probabilities: Probabilities, labels: Integers) -> None:
        """Adds a batch: (N, classes) and (N,)."""
        top = top_indices(probabilities, 5)
        np.add.at(self._confusion, (labels, top[:, 0]), 1)
        self._within_five += int((top == labels[:, None]).any(axis=1).sum())

    def accuracy(self) -> Accuracy:
        """Returns the fractions."""
        images = int(self._confusion.sum())
        right = int(np.trace(self._confusion))
        return Accuracy(top1=right / images, top5=self._within_five / images, confusion=self._confusion)


def worst_misclassified(
    classifier: Classifier,
    loader: Loader,
    crops: Crops,
    count: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[list[Misclassified], int, int]:
    """Finds the wrong answers with the highest probability; arguments as for `classify_batches`.

    Args:
        classifier: The model.
        loader: The images.
        crops: What to average over.
        count: Misclassified images to keep.
        on_progress: Receives the number of images classified so far.

    Returns:
        The misclassified images, highest probability first; how many there were in all; how many images were
        classified.

    Raises:
        UserError: No image could be read.
    """
    surest = _Surest(count)
    wrong = images = 0
    for batch in classify_batches(classifier, loader, (crops,), on_progress):
        answers = batch.probabilities[crops]
        predicted = top_indices(answers, 1)[:, 0]
        for row in np.flatnonzero(predicted != batch.labels).tolist():
            wrong += 1
            surest.add(
                int(batch.indices[row]),
                Misclassified(
                    file=loader.images.path(int(batch.indices[row])),
                    pixels=batch.images[row],
                    truth=classifier.classes[batch.labels[row]],
                    guesses=top_k(answers[row], classifier.classes, _NAMED_CLASSES),
                ),
            )
        images += len(batch.labels)
    return surest.best(), wrong, images


class _Surest:
    """The few images with the highest probability; of equal ones those that come first in the list."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._heap: list[tuple[float, int, Misclassified]] = []

    def add(self, index: int, image: Misclassified) -> None:
        """Adds an image if its probability is high enough; copies its pixels then, since the batch goes."""
        rank = (image.guesses[0].probability, -index)
        if len(self._heap) == self._capacity and rank < self._heap[0][:2]:
            return
        heapq.heappush(self._heap, (*rank, dataclasses.replace(image, pixels=image.pixels.copy())))
        if len(self._heap) > self._capacity:
            heapq.heappop(self._heap)

    def best(self) -> list[Misclassified]:
        """Returns the images, highest probability first."""
        ranked = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return [image for _, _, image in ranked]
