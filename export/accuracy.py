"""How right an export is: PyTorch, the ONNX files and the engine side by side, on the same images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.export.layers import unknown_layer
from alexnet_fast.export.limits import TOLERANCE, judge, limits_of
from alexnet_fast.export.verify import Answers, compare, model_answers, net_answers
from alexnet_fast.runtime import cuda as cuda_driver
from alexnet_fast.runtime.open import open_onnx

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from alexnet_fast.export.export_images import VerificationImages
    from alexnet_fast.export.graph_form import Precision
    from alexnet_fast.export.progress import Progress
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops

_TOP = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class AccuracyRow:
    """What one of them answered, beside PyTorch in float32.

    Args:
        name: "PyTorch", or the name of a file.
        precision: What it computes in.
        backend: What ran it; None where nothing did.
        images: Images that it answered.
        top1: Share whose likeliest class is right, where that is known.
        top5: Share whose right class is among the five likeliest, where that is known.
        top1_agreement: Share with the same likeliest class as PyTorch.
        max_abs_error: Largest difference of a probability from PyTorch's.
        p99_abs_error: 99th percentile of the differences.
        not_measured: Why nothing ran it; None where it was measured.
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
    """Compares files with one network on the same images, and refuses those that answer otherwise.

    Args:
        net: The network, in any mode and on any device; it is copied, not changed.
        spec: What the files were exported with.
        images: At least one.
        crops: What the files were exported with.
        progress: Told about each batch.
        tolerance: Largest difference of a probability in float32.

    Attributes:
        rows: What was found, PyTorch first.
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
            precision: How its graph is written.
            device: What runs it; as for `backend.open_onnx`.
            allow_fallback: Where that is not to be had, warn and take the CPU.

        Raises:
            UserError: It cannot be run, answers with numbers that are not finite, or too far from PyTorch's.
        """
        if precision == "bf16":
            return self._leave_out(path.name, precision, "onnxruntime has no bfloat16 convolution on the CPU")
        model = open_onnx(path, device=device, allow_fallback=allow_fallback)
        answers = model_answers(model, self._images.nhwc_u8, self._progress)
        return self._judged(path.name, "fp32" if precision == "tf32" else precision, answers)

    def add_engine(self, path: Path, precision: Precision) -> AccuracyRow:
        """Runs an engine where a GPU is that it was built for.

        Args:
            path: The engine, with its manifest.
            precision: What it was built with.

        Raises:
            UserError: It fails, answers with numbers that are not finite, or too far from PyTorch's.
        """
        from alexnet_fast.runtime.tensorrt_runtime import EngineModel

        problem = cuda_driver.driver_problem()
        if problem is not None:
            return self._leave_out(path.name, precision, problem)
        try:
            model = EngineModel(path)
        except UserError as error:
            return self._leave_out(path.name, precision, error.problem)
        answers = model_answers(model, self._images.nhwc_u8, self._progress)
        return self._judged(path.name, precision, answers, engine=True)

    def _judged(self, name: str, precision: Precision, got: Answers, *, engine: bool = False) -> AccuracyRow:
        """Returns the row of a file that answers as PyTorch does."""
        complaint = judge(got, self._want, limits_of(precision, self._tolerance, engine=engine))
        if complaint is not None:
            raise self._refusal(name, complaint)
        return self._add(self._row(name, precision, got))

    def _refusal(self, name: str, complaint: str) -> UserError:
        """Says why a file is not published, and looks for the reason in the network itself."""
        images = self._images.nhwc_u8
        shown = f"{len(images)} {self._images.source} images" if len(images) > 1 else "one image"
        problem = f"{name} does not answer as PyTorch does: {complaint}, on {shown}"
        again = net_answers(self._net, self._spec, images, self._crops)
        if judge(again, self._want, limits_of("fp32", TOLERANCE)) is not None:
            return UserError(problem, "nothing was written; the network itself answers differently each time")
        alone = net_answers(self._net, self._spec, images[:1], self._crops)
        first = self._want._replace(
            probabilities=self._want.probabilities[:1],
            outputs={key: values[:1] for key, values in self._want.outputs.items()},
        )
        if judge(alone, first, limits_of("fp32", TOLERANCE)) is not None:
            mend = "nothing was written; the network's answer depends on the other images of its batch"
            return UserError(problem, mend)
        unknown = unknown_layer(self._net)
        mend = "please report this network"
        if unknown is not None:
            mend = f"torch's exporter wrote it, because {unknown.layer} {unknown.why}"
        return UserError(problem, f"nothing was written; {mend}")

    def _row(self, name: str, precision: str, got: Answers) -> AccuracyRow:
        found = dataclasses.asdict(compare(got, self._want))
        top1, top5 = self._right(got)
        return AccuracyRow(name=name, precision=precision, top1=top1, top5=top5, **found)

    def _right(self, got: Answers) -> tuple[float | None, float | None]:
        """Returns top-1 and top-5 accuracy."""
        labels = self._images.labels
        if labels is None:
            return None, None
        order = np.argsort(-got.probabilities, axis=1, kind="stable")[:, :_TOP] == labels[:, None]
        return float(order[:, 0].mean()), float(order.any(axis=1).mean())

    def _leave_out(self, name: str, precision: str, why: str) -> AccuracyRow:
        return self._add(AccuracyRow(name=name, precision=precision, not_measured=why))

    def _add(self, row: AccuracyRow) -> AccuracyRow:
        self.rows.append(row)
        return row


def plain_rows(rows: Sequence[AccuracyRow]) -> list[dict[str, Any]]:
    """Returns rows as JSON values."""
    return [dataclasses.asdict(row) for row in rows]
