"""Interface of all loaders: batches of an epoch, from any step on."""

from __future__ import annotations

import abc
import dataclasses
import itertools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from alexnet_fast.data import ImageList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.decoding_record import current_record
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Integers
from alexnet_fast.utils.ranges import check_fields
from alexnet_fast.version import __version__

Policy = Literal["fail", "skip"]

_log = logging.getLogger("alexnet_fast")


class BadImages:
    """Names and counts the images that could not be decoded.

    Args:
        policy: "fail" ends the work at the first bad image, "skip" leaves bad images out.
    """

    def __init__(self, policy: Policy = "fail") -> None:
        self.policy = policy
        self.reasons: dict[str, str] = {}

    def report(self, path: str, reason: str) -> None:
        """Counts a bad image and logs it once.

        Raises:
            UserError: The policy is "fail".
        """
        if self.policy == "fail":
            raise UserError(f"cannot decode {path}: {reason}", "remove it, or give --on-bad-image skip")
        if path not in self.reasons:
            _log.warning("left out %s: %s", path, reason)
        self.reasons[path] = reason

    def __len__(self) -> int:
        return len(self.reasons)


def nothing_decoded(root: Path) -> UserError:
    """Returns the error for a folder without a decodable image; each bad image was logged."""
    return UserError(f"none of the images in {root} could be decoded", "see the log")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderSettings:
    """How a GPU decodes; only the upsampling changes a pixel. The CPU's decoder has no settings.

    DALI's cache of decoded images is not among them: it is meant for readers that stay with their shard.
    Our images come in an order of our own, and nobody has tried the cache with that on a GPU.

    Args:
        hardware_load: Fraction of the JPEGs that the hardware decoder takes, if there is one (A100 and
            later); the other GPU kernels and the CPU threads decode the rest. 0.65 is DALI's default,
            MLPerf's entries take 0.99 on an H100; the best fraction depends on the threads.
        width_hint: Width of the largest image, in pixels: memory is taken once, not image by image. 5980 is
            the widest of ImageNet (MLPerf).
        height_hint: Height of the largest image, in pixels; 6430 in ImageNet.
        device_padding: Bytes of GPU memory preallocated per thread.
        host_padding: Bytes of pinned memory preallocated per thread, twice.
        fancy_upsampling: Interpolate chroma as libjpeg does. Without it a GPU's pixels differ from the CPU's.
        affinity: Pin DALI's threads to CPU cores near the GPU.

    Raises:
        UserError: A number is out of its range.
    """

    hardware_load: float = 0.65
    width_hint: int = 5980
    height_hint: int = 6430
    device_padding: int = 16 << 20
    host_padding: int = 8 << 20
    fancy_upsampling: bool = True
    affinity: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.hardware_load <= 1:
            raise UserError(
                f"--hw-decoder-load {self.hardware_load:g} is no fraction", "give 0 to 1", exit_code=2
            )
        for name in ("width_hint", "height_hint", "device_padding", "host_padding"):
            if getattr(self, name) < 0:
                raise UserError(f"the decoder setting {name} must not be negative", exit_code=2)

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments of DALI's mixed decoders."""
        return {
            "device": "mixed",
            "hw_decoder_load": self.hardware_load,
            "preallocate_width_hint": self.width_hint,
            "preallocate_height_hint": self.height_hint,
            "device_memory_padding": self.device_padding,
            "host_memory_padding": self.host_padding,
            "jpeg_fancy_upsampling": self.fancy_upsampling,
            "affine": self.affinity,
        }


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
        device: Device of the batches, on which DALI decodes.
        workers: DALI's threads, or worker processes.
        half: float16 instead of float32 pixels.
        prefetch: Batches prepared ahead.
        on_bad_image: Policy for images that cannot be decoded.
        decoder: How DALI decodes on a GPU.
    """

    kind: Kind = "dali"
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    workers: int = 2
    half: bool = False
    prefetch: int = 2
    on_bad_image: Policy = "fail"
    decoder: DecoderSettings = dataclasses.field(default_factory=DecoderSettings)

    def __post_init__(self) -> None:
        check_fields(self)


class Loader(abc.ABC):
    """An input pipeline over one image list; its length is the number of batches per epoch.

    Args:
        images: What to load.
        spec: Geometry, normalisation and jitter.
        view: Which part of the image.
        sampler: Batches and order.
        config: Device, threads, bad-image policy.
    """

    def __init__(
        self,
        images: ImageList,
        spec: AugmentSpec,
        view: View,
        sampler: EpochSampler,
        config: LoaderConfig,
    ) -> None:
        self.images, self.spec, self.view = images, spec, view
        self.sampler, self.config = sampler, config
        self.bad = BadImages(config.on_bad_image)
        if config.on_bad_image == "skip":
            self.bad.reasons.update({images.path(index): why for index, why in images.blocked.items()})
        self.labels = torch.tensor(images.labels, dtype=torch.int64)
        # Number of this loader's block in the record of what the process decodes; see `decoding_record`.
        self._block: int | None = None

    def __len__(self) -> int:
        return self.sampler.steps

    @property
    def rounds(self) -> int:
        """Batches per epoch of the process that has the most, which is the first one."""
        sampler = self.sampler
        return -(-len(range(0, sampler.num_images, sampler.world)) // sampler.batch_size)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image in a batch of the network's own size, (3, crop, crop)."""
        return 3, self.spec.crop, self.spec.crop

    @abc.abstractmethod
    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch per step, from step `start` on; an epoch left early may be followed by another.

        A step with bad images only is an empty batch: the processes of a job stay in step, and the number of
        batches consumed is a position in the data.
        """

    @property
    def ahead(self) -> int:
        """Largest number of batches begun before the current one is handed out."""
        return self.config.prefetch + 4

    def describe(self) -> dict[str, Any]:
        """Returns everything that decides what is decoded in which batch, as plain values."""
        config = self.config
        return {
            "version": __version__,
            "images": self.images.fingerprint(),
            "view": self.view,
            "spec": self.spec.to_dict(),
            "sampler": self.sampler.describe(),
            "config": {
                "kind": config.kind,
                "device": str(config.device),
                "workers": config.workers,
                "half": config.half,
                "prefetch": config.prefetch,
                "decoder": dataclasses.asdict(config.decoder),
            },
        }

    def _recorded(self, epoch: int, start: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Passes on the batches of an epoch and, if a run keeps a record, notes which are being decoded."""
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

    def _labelled(self, images: torch.Tensor, indices: Integers) -> Batch:
        """Adds the labels to the images of a batch."""
        labels = self.labels[torch.from_numpy(indices)]
        if self.config.device.type == "cuda":
            labels = labels.pin_memory().to(self.config.device, non_blocking=True)
        return Batch(images, labels, indices)

    def _drop_bad(self, batch: Batch, errors: Mapping[int, str]) -> Batch:
        """Reports bad images of a batch and returns the others, in the layout of a whole batch.

        Args:
            batch: With any pixels for the bad ones.
            errors: Position in the batch and reason of each bad one.

        Raises:
            UserError: The policy is "fail".
        """
        if not errors:
            return batch
        for position, reason in errors.items():
            self.bad.report(self.images.path(int(batch.indices[position])), reason)
        good = [position for position in range(len(batch.labels)) if position not in errors]
        if not good:
            return self.empty_batch()
        layout = torch.contiguous_format if self.view == "square" else torch.channels_last
        images = batch.images[good].contiguous(memory_format=layout)
        return Batch(images, batch.labels[good], batch.indices[good])

    def empty_batch(self) -> Batch:
        """Returns the batch of a step whose images are all bad."""
        side, device = self.spec.crop, self.config.device
        if self.view == "square":
            images = torch.empty(0, self.spec.resize, self.spec.resize, 3, dtype=torch.uint8, device=device)
        else:
            dtype = torch.float16 if self.config.half else torch.float32
            images = torch.empty(0, side, side, 3, dtype=dtype, device=device).permute(0, 3, 1, 2)
        return Batch(images, torch.empty(0, dtype=torch.int64, device=device), np.empty(0, np.int64))
