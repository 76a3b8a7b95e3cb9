"""A model inside one's own program.

    from alexnet_fast import Predictor

    predictor = Predictor("model.onnx")
    for prediction in predictor.predict(["one.jpg", "two.jpg"], top=3):
        print(prediction.file, prediction.classes[0].label)

Imports neither torch nor DALI.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.open import open_backend
from alexnet_fast.runtime.prediction import Prediction, top_k
from alexnet_fast.serve.image import TRUSTED, ImageLimits, ImageSource, squares_of
from alexnet_fast.utils.arrays import Probabilities

if TYPE_CHECKING:
    from alexnet_fast.utils.arrays import Pixels

# Images classified at once: enough to keep the processor busy, ten crops of them fit any machine's memory.
_BATCH = 16


class Predictor:
    """Says what images show; may be used from several threads at once.

    Args:
        model: An exported ONNX file, or a folder with a `model.onnx`.
        device: "auto" takes a GPU where there is one and warns where it cannot be used; "cpu"; "cuda" and
            "tensorrt" must be there.
        threads: CPU threads for one call; None for one a core.
        allow_fallback: Where the device is not to be had, warn and take the CPU.
        limits: Images that are refused; all that training takes is taken by default.

    Attributes:
        backend: What really computes, such as "onnxruntime CPUExecutionProvider 1.31.1".
        classes: Names of the classes, in the order of the probabilities.
        side: Length in pixels of the square that an image is reduced to.

    Raises:
        UserError: There is no such model, it is not one of ours, or the device is not to be had.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        device: str = "auto",
        threads: int | None = None,
        allow_fallback: bool = False,
        limits: ImageLimits = TRUSTED,
    ) -> None:
        self._backend = open_backend(
            Path(model), device=device, threads=threads, allow_fallback=allow_fallback
        )
        self._limits = limits
        self.backend = self._backend.backend
        self.classes = self._backend.classes
        self.side = self._backend.spec.resize

    def predict(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        top: int = 5,
        on_bad_image: Literal["fail", "skip"] = "fail",
    ) -> list[Prediction]:
        """Names the likeliest classes of each image.

        Args:
            images: One image or several: paths, encoded images (bytes), Pillow images, uint8 arrays
                (height, width, 3) in RGB or (height, width) in grey, or one such array of several images,
                (N, height, width, 3).
            top: Classes to name.
            on_bad_image: "fail" raises at the first image that cannot be decoded; "skip" gives it an
                `error` instead of classes.

        Returns:
            One answer an image, in their order, likeliest class first.

        Raises:
            UserError: An image cannot be decoded (which one and why).
        """
        images = _as_list(images)
        answers: list[Prediction] = []
        for start in range(0, len(images), _BATCH):
            some = images[start : start + _BATCH]
            squares, reasons = squares_of(some, self._backend.spec, self._limits)
            names = [_name(image, start + place) for place, image in enumerate(some)]
            if reasons and on_bad_image == "fail":
                place, reason = next(iter(reasons.items()))
                raise UserError(f"{names[place]} cannot be classified: {reason}")
            rows: Iterator[Probabilities] = iter(self._run(squares))
            for place, name in enumerate(names):
                classes = () if place in reasons else top_k(next(rows), self.classes, top)
                answers.append(Prediction(file=name, classes=classes, error=reasons.get(place)))
        return answers

    def probabilities(self, images: ImageSource | Sequence[ImageSource]) -> Probabilities:
        """Returns the probability of every class for each image: float32 (N, classes), rows summing to 1.

        Args:
            images: As for `predict`.

        Raises:
            UserError: An image cannot be decoded (which one and why).
        """
        answers = [np.empty((0, len(self.classes)), np.float32)]
        images = _as_list(images)
        for start in range(0, len(images), _BATCH):
            some = images[start : start + _BATCH]
            squares, reasons = squares_of(some, self._backend.spec, self._limits)
            for place, reason in reasons.items():
                raise UserError(f"{_name(some[place], start + place)} cannot be classified: {reason}")
            answers.append(self._run(squares))
        return np.concatenate(answers)

    def _run(self, squares: list[Pixels]) -> Probabilities:
        """Classifies squares; none at all where every image was bad."""
        side = self.side
        return self._backend.run(np.stack(squares) if squares else np.empty((0, side, side, 3), np.uint8))


def _as_list(images: ImageSource | Sequence[ImageSource]) -> Sequence[ImageSource]:
    """Returns one image or several as a list."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | bytes | os.PathLike | Image.Image):
        return [images]
    return list(images)


def _name(image: ImageSource, place: int) -> str:
    """Returns a path as it was given, and the place of everything else."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {place}"
