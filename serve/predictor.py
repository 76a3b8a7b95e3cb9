"""A model inside your own program.

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
from typing import Literal

import numpy as np
from PIL import Image

from alexnet_fast.errors import UserError
from alexnet_fast.runtime.open import open_backend
from alexnet_fast.runtime.prediction import Prediction, top_k
from alexnet_fast.serve.image import TRUSTED, ImageLimits, ImageSource, squares_of
from alexnet_fast.utils.arrays import Probabilities

# Images per call of the model: enough to keep the processor busy; ten crops of each fit any machine's memory.
_BATCH = 16


class Predictor:
    """Classifies images with an exported model; thread-safe.

    Args:
        model: An exported ONNX file, or a folder with a `model.onnx`.
        device: "auto" uses a GPU if there is one and warns if it cannot be used; "cpu"; "cuda" and "tensorrt"
            must be available.
        threads: CPU threads per call; None for one per core.
        allow_fallback: Whether to use the CPU, with a warning, if the device is unavailable.
        limits: Images beyond them are refused; by default those that training would refuse.

    Attributes:
        backend: What runs the model, such as "onnxruntime CPUExecutionProvider 1.31.1".
        classes: Names of the classes, in the order of the probabilities.
        side: Length in pixels of the square that an image is reduced to.

    Raises:
        UserError: There is no such model, it is not an exported one, or the device is unavailable.
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
        """Returns the top classes of each image.

        Args:
            images: One or several images: paths, encoded images (bytes), Pillow images, uint8 arrays
                (height, width, 3) in RGB or (height, width) in grey, or one such array of several images,
                (N, height, width, 3).
            top: Number of classes.
            on_bad_image: "fail" raises at the first image that cannot be decoded; "skip" returns an `error`
                for it instead of classes.

        Returns:
            One prediction per image, in order, the most probable class first.

        Raises:
            UserError: An image cannot be decoded; the message has its name and the reason.
        """
        return [
            Prediction(file=name, classes=() if row is None else top_k(row, self.classes, top), error=reason)
            for name, row, reason in self._classified(images, fail=on_bad_image == "fail")
        ]

    def probabilities(self, images: ImageSource | Sequence[ImageSource]) -> Probabilities:
        """Returns the probability of every class for each image: float32 (N, classes), rows summing to 1.

        Args:
            images: See `predict`.

        Raises:
            UserError: An image cannot be decoded; the message has its name and the reason.
        """
        rows = [row for _, row, _ in self._classified(images, fail=True) if row is not None]
        return np.stack(rows) if rows else np.empty((0, len(self.classes)), np.float32)

    def _classified(
        self, images: ImageSource | Sequence[ImageSource], *, fail: bool
    ) -> Iterator[tuple[str, Probabilities | None, str | None]]:
        """Yields the name of each image with its probabilities, or with the reason why it is bad."""
        images, side = _as_list(images), self.side
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            squares, reasons = squares_of(batch, self._backend.spec, self._limits)
            names = [_name(image, start + place) for place, image in enumerate(batch)]
            if reasons and fail:
                place, reason = next(iter(reasons.items()))
                raise UserError(f"{names[place]} cannot be classified: {reason}")
            pixels = np.stack(squares) if squares else np.empty((0, side, side, 3), np.uint8)
            rows = iter(self._backend.run(pixels))
            for place, name in enumerate(names):
                yield name, None if place in reasons else next(rows), reasons.get(place)


def _as_list(images: ImageSource | Sequence[ImageSource]) -> Sequence[ImageSource]:
    """Returns one image or several as a list."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | bytes | os.PathLike | Image.Image):
        return [images]
    return list(images)


def _name(image: ImageSource, place: int) -> str:
    """Returns the path of an image, or its position if it has none."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {place}"
