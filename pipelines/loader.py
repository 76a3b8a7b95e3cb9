"""What every loader gives: batches of an epoch, from any step on."""

from __future__ import annotations

import abc
import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from alexnet_fast import __version__
from alexnet_fast.data import ImageList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.bad_images import BadImages, Policy
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.decoder import DecoderSettings
from alexnet_fast.pipelines.decoding_record import current_record
from alexnet_fast.pipelines.sampler import EpochSampler, Integers
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.memory import refuse_beyond_memory
from alexnet_fast.utils.ranges import check_fields

Kind = Literal["dali", "torch"]


class Batch(NamedTuple):
    """Images on the device, ready for the network; bad ones are missing, so that B may be 0.

    Args:
        images: (B, 3, crop, crop) in channels_last order, normalised; for the view "square" uint8
            (B, resize, resize, 3).
        labels: int64 (B,).
        indices: int64 (B,), positions in the image list.
    """

    images: torch.Tensor
    labels: torch.Tensor
    indices: Integers


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How images are loaded.

    Args:
        kind: "dali", or "torch" for Pillow in worker processes.
        device: Where the batches end, and where DALI decodes.
        threads: DALI's threads, or worker processes.
        half: float16 instead of float32 pixels.
        prefetch: Batches prepared ahead.
        on_bad_image: What to do about an image that cannot be decoded.
        decoder: How DALI decodes on a GPU.
    """

    kind: Kind = "dali"
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    threads: int = 2
    half: bool = False
    prefetch: int = 2
    on_bad_image: Policy = "fail"
    decoder: DecoderSettings = dataclasses.field(default_factory=DecoderSettings)

    def __post_init__(self) -> None:
        check_fields(self)


class Loader(abc.ABC):
    """An input pipeline over one image list; its length is the batches an epoch.

    Args:
        images: What to load.
        spec: Geometry, normalisation and jitter.
        view: Which part of the image.
        schedule: Batches and order.
        config: Device, threads, bad-image policy.
    """

    def __init__(
        self,
        images: ImageList,
        spec: AugmentSpec,
        view: View,
        schedule: EpochSampler,
        config: LoaderConfig,
    ) -> None:
        self.images, self.spec, self.view = images, spec, view
        self.schedule, self.config = schedule, config
        self.bad = BadImages(config.on_bad_image)
        if config.on_bad_image == "skip":
            self.bad.reasons.update({images.path(index): why for index, why in images.blocked.items()})
        self.labels = torch.tensor(images.labels, dtype=torch.int64)
        # In the process's record of what it decodes; see `decoding_record`.
        self._block: int | None = None

    def __len__(self) -> int:
        return self.schedule.steps

    @property
    def rounds(self) -> int:
        """Batches an epoch of the process that has the most; the first one has."""
        schedule = self.schedule
        return -(-len(range(0, schedule.images, schedule.world)) // schedule.batch_size)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image in a batch of the network's own size, (3, crop, crop)."""
        return 3, self.spec.crop, self.spec.crop

    @abc.abstractmethod
    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on; an epoch left early may be followed by another.

        A step of bad images alone is an empty batch: the processes of a job stay in step, and the number of
        batches taken is a position in the data.
        """

    @property
    def ahead(self) -> int:
        """Most batches that are begun before the one at hand is handed out."""
        return self.config.prefetch + 4

    def describe(self) -> dict[str, Any]:
        """Returns what decides what is decoded in which batch, as plain values."""
        config = self.config
        return {
            "version": __version__,
            "images": self.images.fingerprint(),
            "view": self.view,
            "spec": self.spec.to_dict(),
            "schedule": self.schedule.describe(),
            "config": {
                "kind": config.kind,
                "device": str(config.device),
                "threads": config.threads,
                "half": config.half,
                "prefetch": config.prefetch,
                "decoder": dataclasses.asdict(config.decoder),
            },
        }

    def _noted(self, epoch: int, start: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Passes the batches of an epoch on, and notes which are being decoded, where a run asks for that."""
        record = current_record()
        block = (
            None if record is None else record.add(self.describe()) if self._block is None else self._block
        )
        if record is None or block is None:
            yield from batches
            return
        self._block, steps = block, len(self)
        for step in itertools.count(start):
            record.note(block, epoch, step, min(steps, step + 1 + self.ahead))
            batch = next(batches, None)
            if batch is None:
                break
            yield batch
        record.note(block, epoch, 0, 0)

    def spec_in(self, epoch: int) -> AugmentSpec:
        """Returns the spec of an epoch: only training images change their size with it."""
        return self.spec.in_epoch(epoch) if self.view == "train" else self.spec

    def _without_lost(self, batch: Batch, lost: Mapping[int, str]) -> Batch:
        """Reports bad images of a batch and returns the others, in the layout of a whole one.

        Args:
            batch: With any pixels for the bad ones.
            lost: Position in the batch and reason of each bad one.

        Raises:
            UserError: The policy says so.
        """
        if not lost:
            return batch
        for position, reason in lost.items():
            self.bad.report(self.images.path(int(batch.indices[position])), reason)
        good = [position for position in range(len(batch.labels)) if position not in lost]
        if not good:
            return self.empty_batch()
        layout = torch.contiguous_format if self.view == "square" else torch.channels_last
        images = batch.images[good].contiguous(memory_format=layout)
        return Batch(images, batch.labels[good], batch.indices[good])

    def empty_batch(self) -> Batch:
        """Returns the batch of a step in which every image is bad."""
        side, device = self.spec.crop, self.config.device
        if self.view == "square":
            images = torch.empty(0, self.spec.resize, self.spec.resize, 3, dtype=torch.uint8, device=device)
        else:
            dtype = torch.float16 if self.config.half else torch.float32
            images = torch.empty(0, side, side, 3, dtype=dtype, device=device).permute(0, 3, 1, 2)
        return Batch(images, torch.empty(0, dtype=torch.int64, device=device), np.empty(0, np.int64))


def make_loader(
    images: ImageList, spec: AugmentSpec, view: View, schedule: EpochSampler, config: LoaderConfig
) -> Loader:
    """Makes the loader that the configuration names.

    Raises:
        UserError: It cannot be had on this machine, or its batches are larger than the memory.
    """
    _refuse_huge_batches(images, spec, view, schedule, config)
    if config.kind == "torch":
        from alexnet_fast.pipelines.cpu.loaders import TorchLoader

        return TorchLoader(images, spec, view, schedule, config)
    if config.device.type == "cpu" and images.encoding == "array":
        from alexnet_fast.pipelines.cpu.array_loader import ArrayLoader

        return ArrayLoader(images, spec, view, schedule, config)
    try:
        from alexnet_fast.pipelines.dali.loader import DaliLoader
    except ImportError as error:
        raise UserError(
            f"NVIDIA DALI cannot be imported ({error})", "pip install nvidia-dali-cuda120, or give --no-dali"
        ) from error
    return DaliLoader(images, spec, view, schedule, config)


def _refuse_huge_batches(
    images: ImageList, spec: AugmentSpec, view: View, schedule: EpochSampler, config: LoaderConfig
) -> None:
    """Refuses batches that cannot be held, with those that are prepared ahead.

    Raises:
        UserError: They are larger than the memory.
    """
    batch = min(schedule.batch_size, len(images))
    side, value = (spec.resize, 1) if view == "square" else (spec.crop, 2 if config.half else 4)
    refuse_beyond_memory(
        batch * side * side * 3 * value * (config.prefetch + 1),
        f"batches of {batch:,} images of {side} x {side} pixels, {config.prefetch + 1} of them at a time,",
        "give a smaller --batch-size",
    )
