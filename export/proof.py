"""Checks every file of an export before it is published: its answers must be the network's."""

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
    """Compares every file of an export with PyTorch's answers to at least eight images.

    Args:
        net: The network; it is copied, not changed.
        spec: Preprocessing of the files.
        images: Images of the export. If there are fewer than eight, generated ones are added.
        config: Options of the export.
        progress: Called after each batch.

    Attributes:
        main: The comparison on the export's images, with its rows.
        source: The source of those images; see `VerificationImages`.

    Raises:
        UserError: The network fails on the images, or its answers are not finite.
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
        net: The network that it was exported from.
        spec: Its preprocessing.
        crops: Its crops.
        precision: The precision of its graph.
        tolerance: Largest difference of a probability in float32.

    Raises:
        UserError: It cannot be run, or its answers differ from the network's.
    """
    verifier = Verifier(net, spec, generated_images(spec), crops, tolerance=tolerance)
    return verifier.add_onnx(path, precision)


def _chosen(images: ExportImages, spec: AugmentSpec) -> VerificationImages:
    """Returns the images to compare on: those that accuracy is measured on, or else the best available."""
    if images.verification is not None:
        return images.verification
    if images.comparison is not None and len(images.comparison):
        return VerificationImages(nhwc_u8=images.comparison)
    # Generated images may lie outside the range that int8 was calibrated for.
    if images.calibration is not None and len(images.calibration):
        return VerificationImages(nhwc_u8=images.calibration[: 4 * LEAST], source="calibration")
    return generated_images(spec)
