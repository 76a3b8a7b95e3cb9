"""The images that a classifier gets wrong."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable

from alexnet_fast.inference.classifier import Classifier
from alexnet_fast.pipelines.loader import Loader, nothing_decoded
from alexnet_fast.pipelines.ten_crop import Crops
from alexnet_fast.runtime.prediction import ClassScore, top_k
from alexnet_fast.utils.arrays import Pixels

# Classes to name for each mistake.
_GUESSES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Misclassified:
    """An image that is taken for something else.

    Args:
        file: Its path.
        pixels: uint8 (resize, resize, 3): its centre square.
        truth: Name of the right class.
        guesses: Likeliest first.
    """

    file: str
    pixels: Pixels
    truth: str
    guesses: tuple[ClassScore, ...]


def worst_misclassified(
    classifier: Classifier,
    loader: Loader,
    crops: Crops,
    count: int,
    on_progress: Callable[[int], None] = lambda _: None,
) -> tuple[list[Misclassified], int, int]:
    """Finds the wrong answers that the classifier is surest of.

    Args:
        classifier: The model.
        loader: Of the view "square", over images with the classifier's classes.
        crops: What to average over.
        count: Mistakes to keep.
        on_progress: Receives the number of images done.

    Returns:
        The mistakes, surest first; how many there were in all; how many images were classified.

    Raises:
        UserError: No image could be read.
    """
    kept = _Surest(count)
    wrong = done = 0
    for batch in loader.epoch(0):
        if not len(batch.labels):
            continue
        images = batch.images.cpu().numpy()
        answers = classifier.probabilities(images, crops)
        rows = zip(batch.indices.tolist(), batch.labels.tolist(), images, answers, strict=True)
        for index, label, pixels, answer in rows:
            guesses = top_k(answer, classifier.classes, _GUESSES)
            if guesses[0].index != label:
                wrong += 1
                truth = classifier.classes[label]
                kept.add(index, loader.images.path(index), pixels, truth, guesses)
        done += len(images)
        on_progress(done)
    if not done:
        raise nothing_decoded(loader.images.root)
    return kept.mistakes(), wrong, done


class _Surest:
    """The few mistakes with the highest probability; of equal ones those that come first in the list."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Misclassified]] = []

    def add(self, index: int, file: str, pixels: Pixels, truth: str, guesses: tuple[ClassScore, ...]) -> None:
        """Takes a mistake up if it is sure enough; its pixels are copied then, since the batch goes."""
        rank = (guesses[0].probability, -index)
        if len(self._heap) == self._most and rank < self._heap[0][:2]:
            return
        mistake = Misclassified(file=file, pixels=pixels.copy(), truth=truth, guesses=guesses)
        heapq.heappush(self._heap, (*rank, mistake))
        if len(self._heap) > self._most:
            heapq.heappop(self._heap)

    def mistakes(self) -> list[Misclassified]:
        """Returns them, surest first."""
        ranked = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return [mistake for _, _, mistake in ranked]
