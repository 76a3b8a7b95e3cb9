"""Make a loader, with DALI or plain PyTorch, and check that its batches fit into memory."""

from __future__ import annotations

from alexnet_fast.data import ImageList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.loader import Loader, LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.memory import check_memory


def make_loader(
    images: ImageList, spec: AugmentSpec, view: View, sampler: EpochSampler, config: LoaderConfig
) -> Loader:
    """Makes the loader that the configuration names.

    Raises:
        UserError: The loader is unavailable on this machine, or its batches exceed the memory.
    """
    _check_batch_memory(images, spec, view, sampler, config)
    if config.kind == "torch":
        from alexnet_fast.pipelines.cpu.loaders import TorchLoader

        return TorchLoader(images, spec, view, sampler, config)
    if config.device.type == "cpu" and images.encoding == "array":
        from alexnet_fast.pipelines.cpu.loaders import ArrayLoader

        return ArrayLoader(images, spec, view, sampler, config)
    try:
        from alexnet_fast.pipelines.dali.loader import DaliLoader
    except ImportError as error:
        raise UserError(
            f"NVIDIA DALI cannot be imported ({error})", "pip install nvidia-dali-cuda120, or give --no-dali"
        ) from error
    return DaliLoader(images, spec, view, sampler, config)


def _check_batch_memory(
    images: ImageList, spec: AugmentSpec, view: View, sampler: EpochSampler, config: LoaderConfig
) -> None:
    """Checks that the batches fit into memory, including those prepared ahead.

    Raises:
        UserError: The batches exceed the memory.
    """
    batch = min(sampler.batch_size, len(images))
    side, value = (spec.resize, 1) if view == "square" else (spec.crop, 2 if config.half else 4)
    check_memory(
        batch * side * side * 3 * value * (config.prefetch + 1),
        f"batches of {batch:,} images of {side} x {side} pixels, {config.prefetch + 1} of them at a time,",
        "give a smaller --batch-size",
    )
