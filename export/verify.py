"""Compares an exported file with the network that it came from, on pictures."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.crops import crop_probabilities
from alexnet_fast.serve.onnx_model import OnnxModel, check_pictures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch

    from alexnet_fast.export.progress import Progress
    from alexnet_fast.pipelines.crops import Crops
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.serve.backend import Backend

# Eighty crops at a time keep the cores busy without much memory.
_BATCH = 8

Pictures = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """How far the probabilities of a file are from those of PyTorch.

    Args:
        backend: What ran the file.
        images: Number of pictures that both answered.
        max_abs_error: Largest difference of a probability.
        p99_abs_error: 99th percentile of the differences.
        top1_agreement: Fraction of the pictures with the same most likely class.
    """

    backend: str
    images: int
    max_abs_error: float
    p99_abs_error: float
    top1_agreement: float


class Answers(NamedTuple):
    """Probabilities, float32 (N, classes), and what computed them."""

    backend: str
    probabilities: Floats


def verify_onnx(
    onnx_path: Path, net: torch.nn.Module, spec: AugmentSpec, pictures_nhwc_u8: Pictures, crops: Crops
) -> Verification:
    """Compares one file with PyTorch, both on the CPU.

    Args:
        onnx_path: A file that was exported from `net`.
        net: The network, in any mode and on any device; it is copied, not changed.
        spec: What it was exported with.
        pictures_nhwc_u8: uint8 (N, resize, resize, 3), RGB; at least one.
        crops: What it was exported with.

    Raises:
        UserError: As `model_answers`.
    """
    got = model_answers(OnnxModel(onnx_path), pictures_nhwc_u8)
    return compare(got, net_answers(net, spec, pictures_nhwc_u8, crops))


def net_answers(
    net: torch.nn.Module,
    spec: AugmentSpec,
    pictures_nhwc_u8: Pictures,
    crops: Crops,
    progress: Progress | None = None,
) -> Answers:
    """Runs pictures through PyTorch on the CPU in float32; the network is copied, not changed.

    On the CPU even where the net is on a GPU: TF32 there would be measured as the file's error.

    Raises:
        UserError: There are no pictures, or they are no uint8 (N, resize, resize, 3).
    """
    import torch

    check_pictures(pictures_nhwc_u8, spec.resize)
    reference = copy.deepcopy(net).to("cpu").float().eval()
    with torch.inference_mode():
        # A copy of each batch, because torch warns of arrays that it may not write to, such as mapped files.
        found = [
            crop_probabilities(reference, torch.tensor(batch), spec, crops).numpy()
            for batch in batches(pictures_nhwc_u8, "the network in PyTorch", progress)
        ]
    return Answers(f"PyTorch {torch.__version__} CPU", np.concatenate(found))


def model_answers(model: Backend, pictures_nhwc_u8: Pictures, progress: Progress | None = None) -> Answers:
    """Runs pictures through a loaded file.

    Raises:
        UserError: There are no pictures, or it cannot be run or answers with numbers that are not finite.
    """
    phase = f"{model.path.name} in {model.backend.split()[0]}"
    got_nk = np.concatenate([model.run(batch) for batch in batches(pictures_nhwc_u8, phase, progress)])
    if not np.isfinite(got_nk).all():
        raise UserError(f"{model.path.name} answers with numbers that are not finite", "use --precision fp32")
    return Answers(model.backend, got_nk)


def batches(pictures: Pictures, phase: str, progress: Progress | None) -> Iterator[Pictures]:
    """Yields a few pictures at a time, and tells how many are done.

    Raises:
        UserError: There are none.
    """
    if len(pictures) == 0:
        raise UserError("there are no pictures to verify the export on", "give a folder of them with --data")
    for first in range(0, len(pictures), _BATCH):
        yield pictures[first : first + _BATCH]
        if progress is not None:
            progress(phase, min(first + _BATCH, len(pictures)), len(pictures))


def compare(got: Answers, want: Answers) -> Verification:
    """Says how far answers are from those of PyTorch."""
    error_nk = np.abs(got.probabilities.astype(np.float64) - want.probabilities)
    return Verification(
        backend=got.backend,
        images=len(error_nk),
        max_abs_error=float(error_nk.max()),
        p99_abs_error=float(np.quantile(error_nk, 0.99)),
        top1_agreement=float((got.probabilities.argmax(1) == want.probabilities.argmax(1)).mean()),
    )
