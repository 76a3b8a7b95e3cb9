"""Compares an exported file with the network that it came from, on pictures."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.crops import crop_probabilities
from alexnet_fast.serve.backend import open_onnx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch

    from alexnet_fast.export.progress import Progress
    from alexnet_fast.pipelines.crops import Crops
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.serve.onnx_model import OnnxModel

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


def verify_onnx(
    onnx_path: Path, net: torch.nn.Module, spec: AugmentSpec, pictures_nhwc_u8: Pictures, crops: Crops
) -> Verification:
    """Compares one file; see `verify_files`."""
    return verify_files([onnx_path], net, spec, pictures_nhwc_u8, crops)[0]


def verify_files(
    onnx_paths: Sequence[Path],
    net: torch.nn.Module,
    spec: AugmentSpec,
    pictures_nhwc_u8: Pictures,
    crops: Crops,
    *,
    device: str = "cpu",
    allow_fallback: bool = False,
    progress: Progress | None = None,
) -> list[Verification]:
    """Runs pictures through onnxruntime and through PyTorch, the latter on the CPU in float32.

    Args:
        onnx_paths: Files that were exported from `net`.
        net: The network, in any mode and on any device; it is copied, not changed.
        spec: What they were exported with.
        pictures_nhwc_u8: uint8 (N, resize, resize, 3), RGB; at least one.
        crops: What they were exported with.
        device: What onnxruntime runs them on; as for `backend.open_onnx`.
        allow_fallback: Where it is not to be had, warn and take the CPU.
        progress: Told about each batch.

    Raises:
        UserError: There are no pictures, or a file cannot be run or answers with numbers that are not finite.
    """
    if len(pictures_nhwc_u8) == 0:
        raise UserError(
            "there are no pictures to verify the export on", "give a folder of pictures with --verify"
        )
    models = [open_onnx(path, device=device, allow_fallback=allow_fallback) for path in onnx_paths]
    answers = [_onnx_probabilities(model, pictures_nhwc_u8, progress) for model in models]
    # On the CPU even where the net is on a GPU: TF32 there would be measured as the file's error.
    reference = copy.deepcopy(net).to("cpu").float().eval()
    want_nk = _torch_probabilities(reference, pictures_nhwc_u8, spec, crops, progress)
    return [_compare(got_nk, want_nk, backend) for got_nk, backend in answers]


def _onnx_probabilities(
    model: OnnxModel, pictures: Pictures, progress: Progress | None
) -> tuple[Floats, str]:
    path = model.path
    batches = _batches(pictures, f"{path.name} in onnxruntime", progress)
    got_nk = np.concatenate([model.run(batch) for batch in batches])
    if not np.isfinite(got_nk).all():
        raise UserError(f"{path.name} answers with numbers that are not finite", "use --precision fp32")
    return got_nk, model.backend


def _torch_probabilities(
    net: torch.nn.Module, pictures: Pictures, spec: AugmentSpec, crops: Crops, progress: Progress | None
) -> Floats:
    import torch

    with torch.inference_mode():
        # A copy of each batch, because torch warns of arrays that it may not write to, such as mapped files.
        return np.concatenate(
            [
                crop_probabilities(net, torch.tensor(batch), spec, crops).numpy()
                for batch in _batches(pictures, "the network in PyTorch", progress)
            ]
        )


def _batches(pictures: Pictures, phase: str, progress: Progress | None) -> Iterator[Pictures]:
    for first in range(0, len(pictures), _BATCH):
        yield pictures[first : first + _BATCH]
        if progress is not None:
            progress(phase, min(first + _BATCH, len(pictures)), len(pictures))


def _compare(got_nk: Floats, want_nk: Floats, backend: str) -> Verification:
    error_nk = np.abs(got_nk.astype(np.float64) - want_nk)
    return Verification(
        backend=backend,
        images=len(got_nk),
        max_abs_error=float(error_nk.max()),
        p99_abs_error=float(np.quantile(error_nk, 0.99)),
        top1_agreement=float((got_nk.argmax(1) == want_nk.argmax(1)).mean()),
    )
