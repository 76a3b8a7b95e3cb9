"""Anything that says what an image shows: a PyTorch network or an exported file, behind one face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import BadImageError, centre_square, decode
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import Crops
from alexnet_fast.runtime.prediction import Prediction, top_k
from alexnet_fast.utils.arrays import Pixels, Probabilities

if TYPE_CHECKING:
    from alexnet_fast.runtime.open import Backend
    from alexnet_fast.training.checkpoint.model_io import TrainedModel


class Classifier(Protocol):
    """Images in, class probabilities out.

    Attributes:
        name: Name of the model.
        backend: What really computes.
        classes: Names of the outputs.
        spec: Preprocessing.
        crops: What it can average over, best first.
        provenance: Where the weights come from.
    """

    name: str
    backend: str
    classes: tuple[str, ...]
    spec: AugmentSpec
    crops: tuple[Crops, ...]
    provenance: dict[str, Any]

    def probabilities(self, images_nhwc: Pixels, crops: Crops, *, jitter: bool = False) -> Probabilities:
        """Classifies uint8 (N, resize, resize, 3) images.

        Args:
            images_nhwc: RGB.
            crops: What to average over.
            jitter: Whether each crop gets a colour shift of its own; see `pipelines.crops.crop_shifts`.

        Returns:
            float32 (N, classes).
        """


def open_classifier(
    path: Path,
    *,
    device: str = "auto",
    amp: str = "off",
    model: str | None = None,
    threads: int | None = None,
    allow_fallback: bool = False,
) -> Classifier:
    """Opens a run folder, a checkpoint, a file of weights, an exported ONNX file or an engine.

    Args:
        path: The model.
        device: As for `device.choose_device`; for an exported file as for `backend.open_backend`.
        amp: As for `training.precision.choose_precision`; an exported file takes no other than its own.
        model: Name of the network for bare weights.
        threads: CPU threads of onnxruntime; None for one a core.
        allow_fallback: Where the device is not to be had, warn and take the CPU.

    Raises:
        UserError: It is none of these.
        UnavailableError: The device is not to be had.
    """
    if path.suffix in (".onnx", ".engine"):
        from alexnet_fast.runtime.open import open_backend

        if amp not in ("off", "auto"):
            raise UserError(
                f"{path} computes as it was exported, and --amp {amp} is for PyTorch",
                f"leave --amp out, or export with --precision {amp}",
                exit_code=2,
            )
        backend = open_backend(path, device=device, threads=threads, allow_fallback=allow_fallback)
        return OnnxClassifier(backend)
    if device == "tensorrt":
        raise UserError(
            f"{path} runs in PyTorch, and --device tensorrt is for exported files",
            "give a model.onnx or a model.engine, or --device cuda",
            exit_code=2,
        )
    from alexnet_fast.training.checkpoint.model_io import load_trained

    return NetClassifier(load_trained(path, model), device=device, amp=amp, allow_fallback=allow_fallback)


class OnnxClassifier:
    """An exported ONNX file in onnxruntime, or an engine; its crops are part of the file."""

    def __init__(self, model: Backend) -> None:
        self._model = model
        self.name = model.metadata.model
        self.backend = model.backend
        self.classes = model.classes
        self.spec = model.spec
        self.crops: tuple[Crops, ...] = (model.crops,)
        self.provenance = dict(model.metadata.provenance)

    def probabilities(self, images_nhwc: Pixels, crops: Crops, *, jitter: bool = False) -> Probabilities:
        """See `Classifier`.

        Raises:
            UserError: The file averages over other crops, or jitter is asked for.
        """
        if jitter:
            raise UserError(
                f"{self._model.path} has no colour jitter in its graph",
                "give --no-jitter, or the run that it was exported from",
                exit_code=2,
            )
        if crops not in self.crops:
            raise UserError(
                f"{self._model.path} holds the {self.crops[0]}-crop graph",
                f"give --crops {self.crops[0]}, or export it with --crops {crops}",
                exit_code=2,
            )
        return self._model.run(images_nhwc)


class NetClassifier:
    """A PyTorch network."""

    def __init__(self, trained: TrainedModel, *, device: str, amp: str, allow_fallback: bool = False) -> None:
        import torch

        from alexnet_fast.training.precision import choose_precision
        from alexnet_fast.utils.device import device_or_cpu

        self._device = device_or_cpu(device, allow_fallback=allow_fallback)
        self._precision = choose_precision(amp, self._device)  # type: ignore[arg-type]
        self._net = trained.net.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._net.eval()
        self.name = trained.model
        self.backend = f"PyTorch {torch.__version__} on {self._device} in {self._precision.name}"
        self.classes = trained.classes
        self.spec = trained.spec
        self.crops: tuple[Crops, ...] = ("ten", "single") if trained.spec.margin else ("single",)
        self.provenance = trained.provenance

    def probabilities(self, images_nhwc: Pixels, crops: Crops, *, jitter: bool = False) -> Probabilities:
        """See `Classifier`."""
        import torch

        from alexnet_fast.pipelines.ten_crop import crop_probabilities, crop_shifts

        shifts = crop_shifts(self.spec, crops) if jitter else None
        images = torch.from_numpy(images_nhwc).to(self._device)
        with torch.inference_mode(), self._precision.autocast():
            found = crop_probabilities(self._net, images, self.spec, crops, shifts)
        answer: Probabilities = found.cpu().numpy()
        return answer


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
