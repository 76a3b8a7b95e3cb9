"""`ImageLoader`: replaces a torch `DataLoader` over an `ImageFolder` in your own script."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from alexnet_fast.data.shard_fields import ShardFields
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.image_dataset import Data, ImageDataset, list_data
from alexnet_fast.pipelines.loader import BadImages, Batch, Kind, Loader, LoaderConfig, Policy
from alexnet_fast.pipelines.processes import world_info
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.device import choose_device

# Increased whenever the same images, spec and seed give another order, other random parameters or other
# pixels.
PIPELINES_VERSION = 2

_DECODERS = {"dali": "nvidia-dali-cuda120", "torch": "pillow"}


def describe_stream(loader: Loader) -> dict[str, Any]:
    """Returns everything that a loader's batches depend on, besides epoch and step.

    The keys are the names used in messages. Versions are included because another decoder may give other
    pixels; the image list is a hash over names, labels and classes.
    """
    config, sampler = loader.config, loader.sampler
    decoder = _DECODERS[config.kind]
    return {
        "pipelines": PIPELINES_VERSION,
        "loader": config.kind,
        "decoder": f"{decoder} {importlib.metadata.version(decoder)}",
        "device": config.device.type,
        "half precision": config.half,
        "view": loader.view,
        "image list": loader.images.fingerprint(),
        "images": sampler.num_images,
        "batch size": sampler.batch_size,
        "shuffle": sampler.shuffle,
        "full batches only": sampler.full_only,
        "seed": sampler.seed,
        "rank": sampler.rank,
        "processes": sampler.world,
        **{f"spec.{name}": value for name, value in loader.spec.to_dict().items()},
    }


def check_same_stream(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Compares a saved description with that of the current loader.

    Raises:
        UserError: The descriptions differ; each difference is named with both values.
    """
    differing = [name for name in {**saved, **current} if saved.get(name) != current.get(name)]
    if not differing:
        return
    each = "; ".join(f"{name} was {saved.get(name)}, is {current.get(name)}" for name in differing)
    raise UserError(
        f"the saved position belongs to another stream of images: {each}",
        "make the loader as it was, or start an epoch anew with set_epoch",
    )


Pair = tuple[torch.Tensor, torch.Tensor]

# Mean and standard deviation of ImageNet as torchvision's weights expect them, here on the 0..255 scale; no
# colour jitter, as in its recipes.
TORCHVISION_SPEC = AugmentSpec(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), jitter=None)


# Default batch size.
_BATCH = 256

_log = logging.getLogger("alexnet_fast")


class ImageLoader:
    """Batches of (images, labels); its length is the number of batches per epoch.

    Images are (B, 3, crop, crop) in channels_last order, normalised; labels int64 (B,); both on `device`.
    Every loop is one epoch, and the next loop is the next epoch, even after a `break`; `set_epoch` chooses
    the epoch as with a `DistributedSampler`. Images that cannot be decoded make a batch shorter. With several
    processes a batch without any good image comes empty (B = 0), so that all processes take the same number
    of steps; a single process skips it.

    Args:
        data: A folder of class folders, (path, label) pairs, or an `ImageList`.
        train: Random training view, shuffled, in full batches; else the centre crop of every image, in order.
        batch_size: Images per batch of this process; by default 256, or fewer in training on data that do not
            fill one batch.
        spec: Sizes, normalisation and augmentation; by default torchvision's for ImageNet.
        classes: Class names in the order of their labels, if the data do not contain them.
        seed: Seed of order and random parameters.
        drop_last: Full batches only; by default in training.
        loader: "dali", or "torch" for Pillow in worker processes.
        device: "cpu", "cuda", "cuda:N", a torch device, or "auto": this process's GPU if there is one.
        workers: DALI's threads, or worker processes; by default one per core, at most 8.
        half: float16 instead of float32 images.
        prefetch: Batches prepared ahead.
        on_bad_image: "fail" or "skip".
        rank: Rank of this process; by default from the process group or the environment.
        world: Number of processes.
        image_key: For WebDataset tars: the field that holds the image; by default the first of jpg, jpeg,
            png, webp and the other formats.
        label_key: The field that holds the label; by default cls, then json.

    Raises:
        UserError: The data are missing, an option is invalid or the device is unavailable.
    """

    def __init__(  # noqa: PLR0913 - all by name, with a default
        self,
        data: Data,
        *,
        train: bool = True,
        batch_size: int | None = None,
        spec: AugmentSpec = TORCHVISION_SPEC,
        classes: Iterable[str] | None = None,
        seed: int = 0,
        drop_last: bool | None = None,
        loader: Kind = "dali",
        device: str | torch.device = "auto",
        workers: int | None = None,
        half: bool = False,
        prefetch: int = 2,
        on_bad_image: Policy = "fail",
        rank: int | None = None,
        world: int | None = None,
        image_key: str | None = None,
        label_key: str | None = None,
    ) -> None:
        fields = ShardFields.from_options(image_key, label_key, before="", between="_")
        images = list_data(data, classes, fields)
        rank, world = world_info(rank, world)
        config = LoaderConfig(
            kind=loader,
            device=_device(device),
            workers=min(8, len(os.sched_getaffinity(0))) if workers is None else workers,
            half=half,
            prefetch=prefetch,
            on_bad_image=on_bad_image,
        )
        sampler = EpochSampler(
            num_images=len(images),
            batch_size=_default_batch_size(len(images), world, train and drop_last is not False)
            if batch_size is None
            else batch_size,
            shuffle=train,
            seed=seed,
            rank=rank,
            world=world,
            drop_last=drop_last,
        )
        self.dataset = ImageDataset(images, spec)
        self.epoch, self.step = 0, 0
        self._loader = make_loader(images, spec, "train" if train else "eval", sampler, config)
        self._stream: dict[str, Any] | None = None
        self._running: Iterator[Batch] | None = None
        # Whether the next pass keeps the position: the start, or one that the caller has chosen.
        self._positioned = True

    def __len__(self) -> int:
        return len(self._loader)

    @property
    def batch_size(self) -> int:
        """Images per batch of this process."""
        return self._loader.sampler.batch_size

    @property
    def drop_last(self) -> bool:
        """Whether images that do not fill a batch are dropped."""
        return self._loader.sampler.full_only

    @property
    def num_workers(self) -> int:
        """DALI's threads, or worker processes."""
        return self._loader.config.workers

    @property
    def bad_images(self) -> BadImages:
        """The bad images skipped so far, with their reasons."""
        return self._loader.bad

    @property
    def sampler(self) -> EpochSetter:
        """Object with `set_epoch`, as scripts expect it."""
        return EpochSetter(self)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next loop; keeps a position restored in that epoch."""
        if epoch != self.epoch or not self._positioned:
            self._move_to(epoch, 0)

    def state_dict(self) -> dict[str, Any]:
        """Returns the position after the last batch handed out, and a description of the stream."""
        if self._stream is None:
            self._stream = describe_stream(self._loader)
        return {"epoch": self.epoch, "step": self.step, "stream": dict(self._stream)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Makes the next loop continue after the saved position.

        Batches already prepared for that position are handed out, not decoded again.

        Raises:
            UserError: The position belongs to another stream of images.
        """
        if not {"epoch", "step", "stream"} <= state.keys():
            raise UserError("this is not the state of an ImageLoader", "give what its state_dict returned")
        check_same_stream(state["stream"], self.state_dict()["stream"])
        if (state["epoch"], state["step"]) == (self.epoch, self.step):
            self._positioned = True
        else:
            self._move_to(state["epoch"], state["step"])

    def _move_to(self, epoch: int, step: int) -> None:
        """Moves to a position; ends a pass in progress."""
        self.epoch, self.step = epoch, step
        self._running, self._positioned = None, True

    def __iter__(self) -> Iterator[Pair]:
        """Yields the batches of an epoch, or the rest of one; the pass begins with the first batch taken."""
        batches = self._begin()
        while (batch := self._next(batches)) is not None:
            self.step += 1
            if len(batch.labels) or self._loader.sampler.world > 1:
                yield batch.images, batch.labels
        self._move_to(self.epoch + 1, 0)

    def _begin(self) -> Iterator[Batch]:
        """Returns the batches of the next pass, from its position on."""
        if not self._positioned:
            self._move_to(self.epoch + 1, 0)
        if self._running is None:
            self._running = self._loader.epoch(self.epoch, self.step)
        self._positioned = False
        return self._running

    def _next(self, batches: Iterator[Batch]) -> Batch | None:
        """Returns the next batch of a pass, None at its end.

        Raises:
            UserError: Another pass has begun in the meantime: both would consume one pipeline.
        """
        if batches is not self._running:
            raise UserError(
                "another pass over this loader has begun", "make a second ImageLoader for a second loop"
            )
        return next(batches, None)


class EpochSetter:
    """The `loader.sampler` that scripts expect: a length and `set_epoch`.

    Args:
        loader: The loader to set.
    """

    def __init__(self, loader: ImageLoader) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader) * self._loader.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the loader."""
        self._loader.set_epoch(epoch)


def _default_batch_size(images: int, world: int, full_only: bool) -> int:
    """Returns the default batch size, or the largest that the data set fills."""
    local = images // world
    if not full_only or local >= _BATCH:
        return _BATCH
    size = max(1, local)
    _log.warning("batches of %d instead of %d: there are %d images", size, _BATCH, images)
    return size


def _device(requested: str | torch.device) -> torch.device:
    """Returns the requested device; "auto" is the GPU of this process if there is one."""
    if requested == "auto" and torch.cuda.is_available():
        local = os.environ.get("LOCAL_RANK", "")
        return choose_device(f"cuda:{local if local.isdecimal() else torch.cuda.current_device()}")
    return choose_device(str(requested))
