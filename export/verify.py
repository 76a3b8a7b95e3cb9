"""Compares exported files with their network in PyTorch, on images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.export.layer_place import run_network
from alexnet_fast.export.layers import read
from alexnet_fast.export.limits import TOLERANCE, Answers, judge, limits_of
from alexnet_fast.export.net_copy import evaluation_copy
from alexnet_fast.pipelines.ten_crop import crop_probabilities
from alexnet_fast.runtime import cuda as cuda_driver
from alexnet_fast.runtime.metadata import FEATURES, LOGITS, OUTPUT
from alexnet_fast.runtime.onnx_runtime import check_images
from alexnet_fast.runtime.open import open_onnx
from alexnet_fast.runtime.prediction import top_indices
from alexnet_fast.utils.arrays import Floats, Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch

    from alexnet_fast.export.config import Precision
    from alexnet_fast.export.export_images import VerificationImages
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.runtime.manifest import Manifest
    from alexnet_fast.runtime.open import Backend

# Eighty crops at a time keep the cores busy without much memory.
_BATCH = 8
# A file gets the first eight images in batches of other sizes than PyTorch. This detects answers that depend
# on the batch, and graphs that were traced for one batch size.
_FIRST_SIZES = (1, 2, 5)
_TOP = 5


def net_answers(
    net: torch.nn.Module,
    spec: AugmentSpec,
    images_nhwc_u8: Pixels,
    crops: Crops,
    progress: Progress | None = None,
) -> Answers:
    """Runs images through PyTorch on the CPU in float32; the network is copied, not changed.

    A network on a GPU runs on the CPU too: TF32 there would be measured as the file's error.

    Returns:
        The probabilities, and as further outputs the means over the crops of the logits and of the input of
        the last linear layer, if there is one.

    Raises:
        UserError: There are no images, they are not uint8 (N, resize, resize, 3), the network fails on them,
            or its answers are not finite.
    """
    import torch

    check_images(images_nhwc_u8, spec.resize)
    reference = evaluation_copy(net)
    entering: list[torch.Tensor] = []
    linear = [module for module in reference.modules() if isinstance(module, torch.nn.Linear)]
    if linear:
        linear[-1].register_forward_pre_hook(lambda _layer, inputs: entering.append(inputs[0].flatten(1)))
    batches_by_output: dict[str, list[Floats]] = {}

    def answer(x: torch.Tensor) -> torch.Tensor:
        entering.clear()
        logits = run_network(reference, x)
        for name, values in ((LOGITS, logits), *((FEATURES, features) for features in entering[-1:])):
            if len(values) == len(x):
                mean = values.float().reshape(-1, count, values.shape[1]).mean(dim=0)
                batches_by_output.setdefault(name, []).append(mean.numpy())
        return logits

    with torch.inference_mode():
        # A copy of each batch, because torch warns of arrays that it may not write to, such as mapped files.
        for batch in batches(images_nhwc_u8, "comparing: PyTorch", progress):
            count = len(batch)
            probabilities = crop_probabilities(answer, torch.tensor(batch), spec, crops).numpy()
            batches_by_output.setdefault(OUTPUT, []).append(probabilities)
    joined = {name: np.concatenate(parts) for name, parts in batches_by_output.items()}
    if not np.isfinite(joined[OUTPUT]).all():
        raise UserError(
            f"the answers of the network {type(net).__name__} are not finite",
            "its activations overflow, or training has diverged: export an earlier checkpoint",
        )
    return Answers(f"PyTorch {torch.__version__} CPU", joined.pop(OUTPUT), joined)


def model_answers(model: Backend, images_nhwc_u8: Pixels, progress: Progress | None = None) -> Answers:
    """Runs images through a loaded file.

    Raises:
        UserError: There are no images, the file cannot be run, or its answers are not finite.
    """
    phase = f"comparing: {model.path.name} in {model.backend.split()[0]}"
    parts = [model.outputs(batch) for batch in batches(images_nhwc_u8, phase, progress, _FIRST_SIZES)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, values in joined.items():
        if not np.isfinite(values).all():
            raise UserError(f"the {name} of {model.path.name} are not finite", "use --precision fp32")
    return Answers(model.backend, joined.pop(OUTPUT), joined)


def batches(
    images: Pixels, phase: str, progress: Progress | None, first_sizes: Sequence[int] = ()
) -> Iterator[Pixels]:
    """Yields batches of images and reports the progress.

    Args:
        images: All images.
        phase: Name of the work, for `progress`.
        progress: Called after each batch.
        first_sizes: Sizes of the first batches.

    Raises:
        UserError: There are no images.
    """
    if len(images) == 0:
        raise UserError("there are no images to verify the export on", "give a folder of them with --data")
    sizes, done = iter(first_sizes), 0
    while done < len(images):
        batch = images[done : done + next(sizes, _BATCH)]
        yield batch
        done += len(batch)
        if progress is not None:
            progress(phase, done, len(images))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AccuracyRow:
    """The answers of one file, compared with PyTorch in float32.

    Args:
        name: "PyTorch", or the name of a file.
        precision: The precision that it computes in.
        backend: The runtime that ran it; None if nothing did.
        images: Number of images.
        top1: Top-1 accuracy, if the labels are known.
        top5: Top-5 accuracy, if the labels are known.
        top1_agreement: Share of images with PyTorch's top-1 class.
        max_abs_error: Largest difference of a probability from PyTorch's.
        p99_abs_error: 99th percentile of the differences.
        not_measured: Why it was not run; None if it was measured.
    """

    name: str
    precision: str
    backend: str | None = None
    images: int = 0
    top1: float | None = None
    top5: float | None = None
    top1_agreement: float | None = None
    max_abs_error: float | None = None
    p99_abs_error: float | None = None
    not_measured: str | None = None


class Verifier:
    """Compares files with one network on the same images, and refuses files whose answers differ.

    Args:
        net: The network, in any mode and on any device; it is copied, not changed.
        spec: Preprocessing of the files.
        images: At least one image.
        crops: Crops of the files.
        progress: Called after each batch.
        tolerance: Largest difference of a probability in float32.

    Attributes:
        rows: The results, PyTorch first.
    """

    def __init__(
        self,
        net: torch.nn.Module,
        spec: AugmentSpec,
        images: VerificationImages,
        crops: Crops,
        progress: Progress | None = None,
        *,
        tolerance: float = TOLERANCE,
    ) -> None:
        self._images, self._progress, self._tolerance = images, progress, tolerance
        self._net, self._spec, self._crops = net, spec, crops
        self._want = net_answers(net, spec, images.nhwc_u8, crops, progress)
        self.rows: list[AccuracyRow] = [self._row("PyTorch", "fp32", self._want)]

    def add_onnx(
        self, path: Path, precision: Precision, *, device: str = "cpu", allow_fallback: bool = False
    ) -> AccuracyRow:
        """Runs an ONNX file in onnxruntime.

        Args:
            path: The file.
            precision: The precision of its graph.
            device: Device that runs it; as for `runtime.open.open_onnx`.
            allow_fallback: Fall back to the CPU, with a warning, if the device is unavailable.

        Raises:
            UserError: The file cannot be run, or its answers are not finite or too far from PyTorch's.
        """
        if precision == "bf16":
            return self._not_measured(
                path.name, precision, "onnxruntime has no bfloat16 convolution on the CPU"
            )
        model = open_onnx(path, device=device, allow_fallback=allow_fallback)
        answers = model_answers(model, self._images.nhwc_u8, self._progress)
        return self._judged(path.name, "fp32" if precision == "tf32" else precision, answers)

    def add_engine(self, path: Path, precision: Precision, manifest: Manifest) -> AccuracyRow:
        """Runs an engine, if there is a GPU that it was built for.

        Args:
            path: The engine.
            precision: The precision that it was built with.
            manifest: Its manifest, which is not written yet.

        Raises:
            UserError: The engine fails, or its answers are not finite or too far from PyTorch's.
        """
        from alexnet_fast.runtime.tensorrt_runtime import EngineModel

        problem = cuda_driver.driver_problem()
        if problem is not None:
            return self._not_measured(path.name, precision, problem)
        try:
            model = EngineModel(path, manifest=manifest)
        except UserError as error:
            return self._not_measured(path.name, precision, error.problem)
        answers = model_answers(model, self._images.nhwc_u8, self._progress)
        return self._judged(path.name, precision, answers, engine=True)

    def _judged(self, name: str, precision: Precision, got: Answers, *, engine: bool = False) -> AccuracyRow:
        """Adds the row of a file.

        Raises:
            UserError: Its answers differ from PyTorch's.
        """
        complaint = judge(got, self._want, limits_of(precision, self._tolerance, engine=engine))
        if complaint is not None:
            raise self._refusal(name, complaint)
        return self._add(self._row(name, precision, got))

    def _refusal(self, name: str, complaint: str) -> UserError:
        """Returns why a file is not published; looks for the reason in the network itself."""
        images = self._images.nhwc_u8
        which = f"{len(images)} {self._images.source} images" if len(images) > 1 else "one image"
        problem = f"{name} does not answer as PyTorch does: {complaint}, on {which}"
        again = net_answers(self._net, self._spec, images, self._crops)
        if judge(again, self._want, limits_of("fp32", TOLERANCE)) is not None:
            return UserError(problem, "nothing was written; the network itself answers differently each time")
        alone = net_answers(self._net, self._spec, images[:1], self._crops)
        first = self._want._replace(
            probabilities=self._want.probabilities[:1],
            outputs={key: values[:1] for key, values in self._want.outputs.items()},
        )
        if judge(alone, first, limits_of("fp32", TOLERANCE)) is not None:
            hint = "nothing was written; the network's answer depends on the other images of its batch"
            return UserError(problem, hint)
        unknown = read(self._net).unknown
        hint = "please report this network"
        if unknown is not None:
            hint = f"torch's exporter wrote it, because {unknown.layer} {unknown.why}"
        return UserError(problem, f"nothing was written; {hint}")

    def _row(self, name: str, precision: str, got: Answers) -> AccuracyRow:
        want = self._want.probabilities
        error_nk = np.abs(got.probabilities.astype(np.float64) - want)
        top1, top5 = self._right(got)
        return AccuracyRow(
            name=name,
            precision=precision,
            backend=got.backend,
            images=len(error_nk),
            top1=top1,
            top5=top5,
            top1_agreement=float((got.probabilities.argmax(1) == want.argmax(1)).mean()),
            max_abs_error=float(error_nk.max()),
            p99_abs_error=float(np.quantile(error_nk, 0.99)),
        )

    def _right(self, got: Answers) -> tuple[float | None, float | None]:
        """Returns top-1 and top-5 accuracy."""
        labels = self._images.labels
        if labels is None:
            return None, None
        order = top_indices(got.probabilities, _TOP) == labels[:, None]
        return float(order[:, 0].mean()), float(order.any(axis=1).mean())

    def _not_measured(self, name: str, precision: str, why: str) -> AccuracyRow:
        return self._add(AccuracyRow(name=name, precision=precision, not_measured=why))

    def _add(self, row: AccuracyRow) -> AccuracyRow:
        self.rows.append(row)
        return row


def plain_rows(rows: Sequence[AccuracyRow]) -> list[dict[str, Any]]:
    """Returns rows as JSON values."""
    return [dataclasses.asdict(row) for row in rows]
