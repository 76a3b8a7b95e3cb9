"""The likeliest classes of single files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from alexnet_fast.inference.classifier import Classifier, Probabilities
from alexnet_fast.pipelines.cpu.pillow import BadImageError, Pixels, centre_square, decode
from alexnet_fast.pipelines.ten_crop import Crops
from alexnet_fast.runtime.prediction import Prediction, top_k

# Images classified at once: enough to keep the processor busy, ten crops of it fit any machine's memory.
_BATCH = 16


def predict_file(classifier: Classifier, file: Path, crops: Crops, *, jitter: bool = False) -> Probabilities:
    """Returns the probabilities of all classes, float32 (classes,), of one file.

    Raises:
        BadImageError: It cannot be decoded.
    """
    squares = np.stack([centre_square(decode(file, classifier.spec.background), classifier.spec)])
    answer: Probabilities = classifier.probabilities(squares, crops, jitter=jitter)[0]
    return answer


def predict_files(
    classifier: Classifier, files: Sequence[Path], crops: Crops, top: int, *, jitter: bool = False
) -> Iterator[Prediction]:
    """Classifies files in the order given; one that cannot be decoded gets its reason instead of classes.

    Args:
        classifier: The model.
        files: Images.
        crops: What to average over.
        top: Classes to name, likeliest first.
        jitter: As for `Classifier.probabilities`.
    """
    for start in range(0, len(files), _BATCH):
        yield from _predict_batch(classifier, files[start : start + _BATCH], crops, top, jitter)


def _predict_batch(
    classifier: Classifier, files: Sequence[Path], crops: Crops, top: int, jitter: bool
) -> Iterator[Prediction]:
    """Classifies a few files at once."""
    squares: dict[Path, Pixels] = {}
    reasons: dict[Path, str] = {}
    for file in files:
        try:
            squares[file] = centre_square(decode(file, classifier.spec.background), classifier.spec)
        except BadImageError as error:  # noqa: PERF203 - one bad file must not stop the others
            reasons[file] = str(error)
    answers: dict[Path, Probabilities] = {}
    if squares:
        probabilities = classifier.probabilities(np.stack(list(squares.values())), crops, jitter=jitter)
        answers = dict(zip(squares, probabilities, strict=True))
    for file in files:
        if file in reasons:
            yield Prediction(file=str(file), classes=(), error=reasons[file])
        else:
            yield Prediction(file=str(file), classes=top_k(answers[file], classifier.classes, top))
