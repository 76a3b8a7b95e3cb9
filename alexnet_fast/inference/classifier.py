"""Image classifiers: PyTorch networks and exported files behind one interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.cpu.pillow import BadImageError, to_square
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
        backend: Library and device that compute.
        classes: Names of the outputs.
        spec: Preprocessing.
        crops: Crops that it can average over, best first.
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
            jitter: Whether each crop gets its own colour shift; see `pipelines.ten_crop.crop_shifts`.

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
        device: As for `utils.device.choose_device`; for an exported file as for `runtime.open.open_backend`.
        amp: As for `training.precision.choose_precision`; an exported file has a fixed precision.
        model: Name of the network for bare weights.
        threads: CPU threads of onnxruntime; None for one per core.
        allow_fallback: Fall back to the CPU, with a warning, if the device is unavailable.

    Raises:
        UserError: The path is none of these.
        UnavailableError: The device is unavailable.
    """
    if path.suffix in (".onnx", ".engine"):
        from alexnet_fast.runtime.open import open_backend

        if amp not in ("off", "auto"):
            raise UserError(
                f"{path} keeps the precision of its export; --amp {amp} is for PyTorch",
                f"leave --amp out, or export with --precision {amp}",
                exit_code=2,
            )
        backend = open_backend(path, device=device, threads=threads, allow_fallback=allow_fallback)
        return OnnxClassifier(backend)
    if device == "tensorrt":
        raise UserError(
            f"--device tensorrt is for exported files; {path} runs in PyTorch",
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
            UserError: The file averages over other crops, or `jitter` is set.
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
            probabilities = crop_probabilities(self._net, images, self.spec, crops, shifts)
        answer: Probabilities = probabilities.cpu().numpy()
        return answer


# Images classified at once: enough to keep the processor busy; ten crops of them fit any machine's memory.
_BATCH = 16


def predict_file(classifier: Classifier, file: Path, crops: Crops, *, jitter: bool = False) -> Probabilities:
    """Returns the probabilities of all classes, float32 (classes,), for one file.

    Raises:
        BadImageError: The file cannot be decoded.
    """
    squares = to_square(file, classifier.spec)[None]
    answer: Probabilities = classifier.probabilities(squares, crops, jitter=jitter)[0]
    return answer


def predict_files(
    classifier: Classifier, files: Sequence[Path], crops: Crops, top: int, *, jitter: bool = False
) -> Iterator[Prediction]:
    """Classifies files in the given order; a file that cannot be decoded gets its reason instead of classes.

    Args:
        classifier: The model.
        files: Images.
        crops: What to average over.
        top: Number of classes to name, most probable first.
        jitter: As for `Classifier.probabilities`.
    """
    for start in range(0, len(files), _BATCH):
        squares: list[Pixels] = []
        errors: dict[Path, str] = {}
        batch = files[start : start + _BATCH]
        for file in batch:
            try:
                squares.append(to_square(file, classifier.spec))
            except BadImageError as error:  # noqa: PERF203 - one bad file must not stop the others
                errors[file] = str(error)
        rows = iter(classifier.probabilities(np.stack(squares), crops, jitter=jitter) if squares else ())
        for file in batch:
            classes = () if file in errors else top_k(next(rows), classifier.classes, top)
            yield Prediction(file=str(file), classes=classes, error=errors.get(file))
