"""Compares an exported file with the network that it came from, on images."""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.export.layer_place import run_network
from alexnet_fast.export.net_copy import evaluation_copy
from alexnet_fast.pipelines.ten_crop import crop_probabilities
from alexnet_fast.runtime.metadata import FEATURES, LOGITS, OUTPUT
from alexnet_fast.runtime.onnx_runtime import OnnxModel, check_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import torch

    from alexnet_fast.export.progress import Progress
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.pipelines.ten_crop import Crops
    from alexnet_fast.runtime.open import Backend

# Eighty crops at a time keep the cores busy without much memory.
_BATCH = 8
# The first eight images come to a file in batches of other sizes than to PyTorch: an answer that depends
# on the batch, or a graph that was traced for one size of it, is then noticed.
_FIRST_SIZES = (1, 2, 5)

Images = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """How far the probabilities of a file are from those of PyTorch.

    Args:
        backend: What ran the file.
        images: Number of images that both answered.
        max_abs_error: Largest difference of a probability.
        p99_abs_error: 99th percentile of the differences.
        top1_agreement: Fraction of the images with the same most likely class.
    """

    backend: str
    images: int
    max_abs_error: float
    p99_abs_error: float
    top1_agreement: float


class Answers(NamedTuple):
    """Probabilities, float32 (N, classes), what computed them, and further outputs (N, ...) by name."""

    backend: str
    probabilities: Floats
    outputs: Mapping[str, np.ndarray[Any, Any]] = types.MappingProxyType({})


def verify_onnx(
    onnx_path: Path, net: torch.nn.Module, spec: AugmentSpec, images_nhwc_u8: Images, crops: Crops
) -> Verification:
    """Compares one file with PyTorch, both on the CPU.

    Args:
        onnx_path: A file that was exported from `net`.
        net: The network, in any mode and on any device; it is copied, not changed.
        spec: What it was exported with.
        images_nhwc_u8: uint8 (N, resize, resize, 3), RGB; at least one.
        crops: What it was exported with.

    Raises:
        UserError: As `model_answers`.
    """
    got = model_answers(OnnxModel(onnx_path), images_nhwc_u8)
    return compare(got, net_answers(net, spec, images_nhwc_u8, crops))


def net_answers(
    net: torch.nn.Module,
    spec: AugmentSpec,
    images_nhwc_u8: Images,
    crops: Crops,
    progress: Progress | None = None,
) -> Answers:
    """Runs images through PyTorch on the CPU in float32; the network is copied, not changed.

    On the CPU even where the net is on a GPU: TF32 there would be measured as the file's error.

    Returns:
        The probabilities, and as further outputs the means over the crops of the logits and of what enters
        the last linear layer, where there is one.

    Raises:
        UserError: There are no images, they are no uint8 (N, resize, resize, 3), or the network fails on
            them or answers with numbers that are not finite.
    """
    import torch

    check_images(images_nhwc_u8, spec.resize)
    reference = evaluation_copy(net)
    entering: list[torch.Tensor] = []
    linear = [module for module in reference.modules() if isinstance(module, torch.nn.Linear)]
    if linear:
        linear[-1].register_forward_pre_hook(lambda _layer, inputs: entering.append(inputs[0].flatten(1)))
    found: dict[str, list[Floats]] = {}

    def answer(x: torch.Tensor) -> torch.Tensor:
        entering.clear()
        logits = run_network(reference, x)
        for name, values in ((LOGITS, logits), *((FEATURES, one) for one in entering[-1:])):
            if len(values) == len(x):
                mean = values.float().reshape(-1, count, values.shape[1]).mean(dim=0)
                found.setdefault(name, []).append(mean.numpy())
        return logits

    with torch.inference_mode():
        # A copy of each batch, because torch warns of arrays that it may not write to, such as mapped files.
        for batch in batches(images_nhwc_u8, "comparing: PyTorch", progress):
            count = len(batch)
            probabilities = crop_probabilities(answer, torch.tensor(batch), spec, crops).numpy()
            found.setdefault(OUTPUT, []).append(probabilities)
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    if not np.isfinite(joined[OUTPUT]).all():
        raise UserError(
            f"the network {type(net).__name__} answers with numbers that are not finite",
            "its activations overflow, or training has diverged: export an earlier checkpoint",
        )
    return Answers(f"PyTorch {torch.__version__} CPU", joined.pop(OUTPUT), joined)


def model_answers(model: Backend, images_nhwc_u8: Images, progress: Progress | None = None) -> Answers:
    """Runs images through a loaded file.

    Raises:
        UserError: There are no images, or it cannot be run or answers with numbers that are not finite.
    """
    phase = f"comparing: {model.path.name} in {model.backend.split()[0]}"
    parts = [model.outputs(batch) for batch in batches(images_nhwc_u8, phase, progress, _FIRST_SIZES)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for name, values in joined.items():
        if not np.isfinite(values).all():
            raise UserError(
                f"the {name} of {model.path.name} are numbers that are not finite", "use --precision fp32"
            )
    return Answers(model.backend, joined.pop(OUTPUT), joined)


def batches(
    images: Images, phase: str, progress: Progress | None, first_sizes: Sequence[int] = ()
) -> Iterator[Images]:
    """Yields a few images at a time, and tells how many are done.

    Args:
        images: All of them.
        phase: What is done with them.
        progress: Told about each batch.
        first_sizes: Of the first batches.

    Raises:
        UserError: There are none.
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
