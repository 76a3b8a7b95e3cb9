"""Anything that says what a picture shows: a PyTorch network or an exported file, behind one face."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.crops import Crops
from alexnet_fast.pipelines.spec import AugmentSpec

if TYPE_CHECKING:
    from alexnet_fast.serve.backend import Backend
    from alexnet_fast.training.trained import Trained

Pixels = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


class Classifier(Protocol):
    """Pictures in, class probabilities out.

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

    def probabilities(self, pictures_nhwc: Pixels, crops: Crops) -> Probabilities:
        """Classifies uint8 (N, resize, resize, 3) pictures; returns float32 (N, classes)."""


def open_classifier(
    path: Path,
    *,
    device: str = "auto",
    amp: str = "off",
    model: str | None = None,
    threads: int | None = None,
) -> Classifier:
    """Opens a run folder, a checkpoint, a file of weights, an exported ONNX file or an engine.

    Args:
        path: The model.
        device: As for `device.choose_device`.
        amp: As for `training.precision.choose_precision`.
        model: Name of the network for bare weights.
        threads: CPU threads of onnxruntime; None for one a core.

    Raises:
        UserError: It is none of these, or the device is not there.
    """
    if path.suffix in (".onnx", ".engine"):
        from alexnet_fast.serve.backend import open_backend

        return OnnxClassifier(open_backend(path, device=device, threads=threads))
    from alexnet_fast.training.trained import load_trained

    return NetClassifier(load_trained(path, model), device=device, amp=amp)


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

    def probabilities(self, pictures_nhwc: Pixels, crops: Crops) -> Probabilities:
        """See `Classifier`.

        Raises:
            UserError: The file averages over other crops.
        """
        if crops not in self.crops:
            raise UserError(
                f"{self._model.path} holds the {self.crops[0]}-crop graph",
                f"give --crops {self.crops[0]}, or export it with --crops {crops}",
                exit_code=2,
            )
        return self._model.run(pictures_nhwc)


class NetClassifier:
    """A PyTorch network."""

    def __init__(self, trained: Trained, *, device: str, amp: str) -> None:
        import torch

        from alexnet_fast.device import choose_device
        from alexnet_fast.training.precision import choose_precision

        self._device = choose_device(device)
        self._precision = choose_precision(amp, self._device)  # type: ignore[arg-type]
        self._net = trained.net.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._net.eval()
        self.name = trained.model
        self.backend = f"PyTorch {torch.__version__} on {self._device} in {self._precision.name}"
        self.classes = trained.classes
        self.spec = trained.spec
        self.crops: tuple[Crops, ...] = ("ten", "single") if trained.spec.margin else ("single",)
        self.provenance = trained.provenance

    def probabilities(self, pictures_nhwc: Pixels, crops: Crops) -> Probabilities:
        """See `Classifier`."""
        import torch

        from alexnet_fast.pipelines.crops import crop_probabilities

        pictures = torch.from_numpy(pictures_nhwc).to(self._device)
        with torch.inference_mode(), self._precision.autocast():
            answer: Probabilities = crop_probabilities(self._net, pictures, self.spec, crops).cpu().numpy()
        return answer
