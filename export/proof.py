"""No file is published that does not answer as the network does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alexnet_fast.export.export_images import LEAST, ExportImages, VerificationImages, generated_images
from alexnet_fast.export.limits import TOLERANCE
from alexnet_fast.export.verify import Verifier

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from alexnet_fast.export.artifacts import OnnxFiles
    from alexnet_fast.export.config import ExportConfig, Precision
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.export.tensorrt.engine import BuiltEngine
    from alexnet_fast.export.verify import AccuracyRow
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops


class Proof:
    """What every file of an export is compared with: PyTorch's answers to at least eight images.

    Args:
        net: The network; it is copied, not changed.
        spec: What the files are exported with.
        images: Those of the export. Where they are fewer than eight, generated ones are taken too.
        config: Of the export.
        progress: Told about each batch.

    Attributes:
        main: The comparison on the images that the export has, with its rows.
        source: Where its images come from.

    Raises:
        UserError: The network fails on the images, or answers with numbers that are not finite.
    """

    def __init__(
        self,
        net: torch.nn.Module,
        spec: AugmentSpec,
        images: ExportImages,
        config: ExportConfig,
        progress: Progress | None = None,
    ) -> None:
        self._config = config
        chosen = _chosen(images, spec)
        sets = [chosen]
        if len(chosen.nhwc_u8) < LEAST:
            sets.append(_chosen(ExportImages(calibration=images.calibration), spec))
        self._verifiers = [
            Verifier(net, spec, image_set, config.crops, progress, tolerance=config.tolerance)
            for image_set in sets
        ]
        self.main, self.source = self._verifiers[0], chosen.source

    def verify_graphs(self, files: OnnxFiles) -> None:
        """Runs the ONNX files of an export.

        Raises:
            UserError: One cannot be run, or its answers differ from the network's.
        """
        device, fallback = self._config.device, self._config.allow_fallback
        for file in files:
            for verifier in self._verifiers:
                verifier.add_onnx(file.path, file.precision, device=device, allow_fallback=fallback)

    def verify_engine(self, built: BuiltEngine) -> None:
        """Runs an engine, if there is a GPU that it was built for.

        Raises:
            UserError: As `verify_graphs`.
        """
        for verifier in self._verifiers:
            verifier.add_engine(built.engine, self._config.precision, built.manifest)


def prove_onnx(
    path: Path,
    net: torch.nn.Module,
    spec: AugmentSpec,
    crops: Crops,
    precision: Precision = "fp32",
    *,
    tolerance: float = TOLERANCE,
) -> AccuracyRow:
    """Compares one ONNX file with PyTorch on generated images.

    Args:
        path: The file.
        net: What it was exported from.
        spec: What it was exported with.
        crops: What it was exported with.
        precision: How its graph is written.
        tolerance: Largest difference of a probability in float32.

    Raises:
        UserError: It cannot be run, or does not answer as the network does.
    """
    verifier = Verifier(net, spec, generated_images(spec), crops, tolerance=tolerance)
    return verifier.add_onnx(path, precision)


def _chosen(images: ExportImages, spec: AugmentSpec) -> VerificationImages:
    """Returns the images to compare on: those that the accuracy is measured on, else what else there is."""
    if images.trial is not None:
        return images.trial
    if images.few is not None and len(images.few):
        return VerificationImages(nhwc_u8=images.few)
    # Generated ones may be outside of what the steps of int8 were found on.
    if images.calibration is not None and len(images.calibration):
        return VerificationImages(nhwc_u8=images.calibration[: 4 * LEAST], source="calibration")
    return generated_images(spec)
