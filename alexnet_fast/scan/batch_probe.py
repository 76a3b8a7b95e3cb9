"""A batch decoded once more as training decodes it, in a worker process that may die of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch

from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.cpu.loaders import view_of
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.io import open_image
from alexnet_fast.pipelines.loader import DecoderSettings, Loader, LoaderConfig
from alexnet_fast.pipelines.sampler import BatchIndices, EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BatchProbe:
    """What a worker is to decode.

    Args:
        loader: What `Loader.describe` said of the loader.
        images: Those of the batch alone; blocked ones are left out as they are in training, so that the
            batch keeps its size.
        plan: Their random numbers; its indices are positions in `images`.
        epoch: Counted from 0.
        repeats: How often: a fault between threads does not show each time.
        alone: The position of an image to be decoded in a batch of one; None for the whole batch.
    """

    loader: dict[str, Any]
    images: ImageList
    plan: BatchIndices
    epoch: int
    repeats: int = 1
    alone: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Replay(EpochSampler):
    """An epoch of one batch.

    Args:
        plan: The batch.
    """

    plan: BatchIndices

    @property
    def steps(self) -> int:
        """One."""
        return 1

    def epoch(self, epoch: int, spec: AugmentSpec, start: int = 0) -> Iterator[BatchIndices]:
        """Yields the batch."""
        del epoch, spec, start
        yield self.plan


def decode(probe: BatchProbe) -> None:
    """Decodes what a probe says; images that are only bad are passed over.

    Raises:
        MemoryError: The worker has too little memory.
    """
    with_pillow = probe.loader["config"]["kind"] == "torch"
    try:
        (_decode_by_pillow if with_pillow else _decode_by_loader)(probe)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - no death: training meets the same error again, and tells it
        return


def _decode_by_loader(probe: BatchProbe) -> None:
    """Does what training does."""
    for _ in range(probe.repeats):
        # Made anew: a loader that has met an error once goes another way around that image.
        for _ in _loader(probe).epoch(probe.epoch):
            pass


def _decode_by_pillow(probe: BatchProbe) -> None:
    """Does what a worker process of the Pillow loader does, without the process."""
    spec, view = AugmentSpec.from_dict(probe.loader["spec"]), probe.loader["view"]
    spec = spec.in_epoch(probe.epoch) if view == "train" else spec
    rows = range(len(probe.plan)) if probe.alone is None else (probe.alone,)
    for row in rows:
        try:
            image = open_image(probe.images.location(row), probe.images.encoding, spec.background)
            view_of(image, spec, view, probe.plan.random_params[row])
        except BadImageError:  # noqa: PERF203 - each image by itself
            continue


# The loader of single images of the last batch; to make one takes longer than an image.
_singles: dict[str, Loader] = {}


def _loader(probe: BatchProbe) -> Loader:
    """Returns a loader of the batch, or of one image of it."""
    if probe.alone is None:
        return _made(probe, probe.loader["sampler"]["batch_size"], probe.plan)
    plan, key = probe.plan.single(probe.alone), f"{probe.images.fingerprint()} {probe.epoch}"
    if key not in _singles:
        _singles.clear()
        _singles[key] = _made(probe, 1, plan)
    _singles[key].sampler = _replay(probe, 1, plan)
    return _singles[key]


def _made(probe: BatchProbe, size: int, plan: BatchIndices) -> Loader:
    """Makes a loader like that of the run, for batches of a size."""
    given = dict(probe.loader["config"])
    given["device"] = torch.device(given["device"])
    given["decoder"] = DecoderSettings(**given["decoder"])
    config = LoaderConfig(**given, on_bad_image="skip")
    spec = AugmentSpec.from_dict(probe.loader["spec"])
    return make_loader(probe.images, spec, probe.loader["view"], _replay(probe, size, plan), config)


def _replay(probe: BatchProbe, size: int, plan: BatchIndices) -> _Replay:
    """Returns the sampler of one batch."""
    return _Replay(num_images=len(probe.images), batch_size=size, shuffle=False, plan=plan)
