"""The sampler: which images are in which batch of an epoch, and the random parameters of each image.

Order and random numbers come from here, not from a loader's own generator. So DALI and the plain loader see
the same epoch, an image's augmentation does not depend on batch size or number of processes, and a position
in the data is just (epoch, step). Kept by hand: torch's samplers draw no augmentation and cannot start at a
step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.augment.pca import color_shifts
from alexnet_fast.pipelines.augment.random_resized_crop import TRIES
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Floats, Integers

# Columns of the random parameters, see `BatchIndices`.
PLACE, MIRROR, SHIFT = slice(0, 2), 2, slice(3, 6)
COLOR_PARAMS, AREAS = slice(6, 10), slice(10, 10 + 2 * TRIES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchIndices:
    """The images of one batch and their random parameters, before anything is read.

    Args:
        indices: int64 (B,), positions in the image list.
        random_params: float32 (B, 6 or more): vertical and horizontal crop position in [0, 1), mirrored (0 or
            1), the shift of R, G and B on the 0..255 scale; then, if the spec has colour jitter or random
            resized crops, the columns `COLOR_PARAMS` and `AREAS`, in [0, 1).
    """

    indices: Integers
    random_params: Floats

    def __len__(self) -> int:
        return len(self.indices)

    def single(self, position: int) -> BatchIndices:
        """Returns the batch of a single image."""
        return self.subset(slice(position, position + 1))

    def subset(self, rows: slice | list[int]) -> BatchIndices:
        """Returns the batch of some of the images."""
        return BatchIndices(indices=self.indices[rows], random_params=self.random_params[rows])


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochSampler:
    """Divides a list of images into batches, epoch by epoch.

    Args:
        num_images: Length of the list.
        batch_size: Images per batch of this process.
        shuffle: A new permutation every epoch (training), or the list's own order (evaluation).
        drop_last: Full batches only; by default when shuffling. Otherwise the last batch is smaller, and when
            shuffling a few images come twice if that gives every process as many.
        seed: Seed of the permutations and the random parameters.
        rank: Rank of this process.
        world: Number of processes that share the list.

    Raises:
        UserError: A batch is larger than the list.
    """

    num_images: int
    batch_size: int
    shuffle: bool
    seed: int = 0
    rank: int = 0
    world: int = 1
    drop_last: bool | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"--batch-size {self.batch_size} is not a size", "give 1 or more", exit_code=2)
        if self.shuffle and self.full_only and self.batch_size * self.world > self.num_images:
            raise UserError(
                f"--batch-size {self.batch_size} exceeds the {self.num_images} training images"
                + (f" for {self.world} processes" if self.world > 1 else ""),
                f"give --batch-size {max(1, self.num_images // self.world)} or less",
                exit_code=2,
            )

    @property
    def steps(self) -> int:
        """Batches per epoch; the same for every process in training."""
        if self.full_only:
            return self.num_images // (self.batch_size * self.world)
        first = 0 if self.shuffle else self.rank
        local = len(range(first, self.num_images, self.world))
        return -(-local // self.batch_size)

    @property
    def full_only(self) -> bool:
        """Whether the last images are dropped if they do not fill a batch."""
        return self.shuffle if self.drop_last is None else self.drop_last

    def epoch(self, epoch: int, spec: AugmentSpec, start: int = 0) -> Iterator[BatchIndices]:
        """Yields the batches of an epoch, from step `start` on.

        The random parameters depend on (epoch, image), the order on the epoch.
        """
        generator = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        order = generator.permutation(self.num_images) if self.shuffle else np.arange(self.num_images)
        random_params = _draw(generator, self.num_images, spec) if self.shuffle else None
        if self.shuffle and not self.full_only:
            # The same number for every process: the first images of the order come again.
            order = np.resize(order, -(-self.num_images // self.world) * self.world)
        local = order[self.rank :: self.world]
        for step in range(start, self.steps):
            indices = local[step * self.batch_size : (step + 1) * self.batch_size]
            rows = (
                np.zeros((len(indices), 6), np.float32) if random_params is None else random_params[indices]
            )
            yield BatchIndices(indices=indices, random_params=rows)

    def describe(self) -> dict[str, Any]:
        """Returns the settings that must agree for a stream to be continued."""
        return dataclasses.asdict(self)


def _draw(generator: np.random.Generator, images: int, spec: AugmentSpec) -> Floats:
    """Draws the random parameters of every image of an epoch; see `BatchIndices.random_params`."""
    random_params = np.zeros((images, _columns(spec)), np.float32)
    random_params[:, :3] = generator.random((images, 3), dtype=np.float32)
    random_params[:, MIRROR] = (random_params[:, MIRROR] < 0.5) & spec.flip
    components = generator.standard_normal((images, 3), dtype=np.float32)
    if spec.jitter is not None:
        random_params[:, SHIFT] = color_shifts(spec.jitter, components)
    # The additions come last: what was drawn before stays the same without them.
    for columns in (COLOR_PARAMS, AREAS):
        subset = random_params[:, columns]
        subset[:] = generator.random(subset.shape, dtype=np.float32)
    return random_params


def _columns(spec: AugmentSpec) -> int:
    """Returns the number of random parameters per image."""
    if spec.random_resized_crop is not None:
        return AREAS.stop
    return COLOR_PARAMS.stop if spec.color_jitter is not None else SHIFT.stop
