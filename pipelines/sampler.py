"""What a loader does in an epoch: which images in which batch, and each image's random numbers.

Order and random numbers come from here, not from a loader's own generator. So DALI and the plain loader see
the same epoch, an image's augmentation does not depend on batch size or number of processes, and a position
in the data is just (epoch, step).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.pca import color_shifts
from alexnet_fast.pipelines.random_resized_crop import TRIES
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.utils.arrays import Floats, Integers

# Columns of the random parameters, see `BatchIndices`.
PLACE, MIRROR, SHIFT = slice(0, 2), 2, slice(3, 6)
COLOR_PARAMS, AREAS = slice(6, 10), slice(10, 10 + 2 * TRIES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchIndices:
    """One batch before it is read.

    Args:
        indices: int64 (B,), positions in the image list.
        random_params: float32 (B, 6 or more): vertical and horizontal crop position in [0, 1), mirrored (0 or
            1), the shift of R, G and B on the 0..255 scale; then, where the spec distorts colours or resizes
            random areas, the columns `COLOR_PARAMS` and `AREAS`, in [0, 1).
    """

    indices: Integers
    random_params: Floats

    def __len__(self) -> int:
        return len(self.indices)

    def single(self, position: int) -> BatchIndices:
        """Returns the plan of a single image of this batch."""
        return self.subset(slice(position, position + 1))

    def subset(self, rows: slice | list[int]) -> BatchIndices:
        """Returns the plan of some images of this batch."""
        return BatchIndices(indices=self.indices[rows], random_params=self.random_params[rows])


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochSampler:
    """How a list of images becomes batches, epoch by epoch.

    Args:
        num_images: Length of the list.
        batch_size: Images a batch, of this process alone.
        shuffle: A new permutation every epoch (training), or the list's own order (evaluation).
        drop_last: Full batches only; by default when shuffling. Otherwise the last batch is smaller, and when
            shuffling a few images come twice where that gives every process as many.
        seed: Chooses the permutations and the random numbers.
        rank: This process among `world`.
        world: Number of processes that share the list.

    Raises:
        UserError: The batches are larger than the list.
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
                f"--batch-size {self.batch_size} is more than the {self.num_images} training images there are"
                + (f" for {self.world} processes" if self.world > 1 else ""),
                f"give --batch-size {max(1, self.num_images // self.world)} or less",
                exit_code=2,
            )

    @property
    def steps(self) -> int:
        """Batches an epoch; the same for every process when training."""
        if self.full_only:
            return self.num_images // (self.batch_size * self.world)
        first = 0 if self.shuffle else self.rank
        mine = len(range(first, self.num_images, self.world))
        return -(-mine // self.batch_size)

    @property
    def full_only(self) -> bool:
        """Whether the last images are left out where they do not fill a batch."""
        return self.shuffle if self.drop_last is None else self.drop_last

    def epoch(self, epoch: int, spec: AugmentSpec, start: int = 0) -> Iterator[BatchIndices]:
        """Yields the batches of an epoch, from step `start` on.

        The random numbers belong to the pair (epoch, image), the order to the epoch.
        """
        generator = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        order = generator.permutation(self.num_images) if self.shuffle else np.arange(self.num_images)
        random_params = _draw(generator, self.num_images, spec) if self.shuffle else None
        if self.shuffle and not self.full_only:
            # As many for every process: the first ones of the order come again.
            order = np.resize(order, -(-self.num_images // self.world) * self.world)
        mine = order[self.rank :: self.world]
        for step in range(start, self.steps):
            indices = mine[step * self.batch_size : (step + 1) * self.batch_size]
            rows = (
                np.zeros((len(indices), 6), np.float32) if random_params is None else random_params[indices]
            )
            yield BatchIndices(indices=indices, random_params=rows)

    def describe(self) -> dict[str, Any]:
        """Returns what must agree for a stream to be continued."""
        return dataclasses.asdict(self)


def _draw(generator: np.random.Generator, images: int, spec: AugmentSpec) -> Floats:
    """Draws the random numbers of every image of an epoch; see `BatchIndices.random_params`."""
    random_params = np.zeros((images, _columns(spec)), np.float32)
    random_params[:, :3] = generator.random((images, 3), dtype=np.float32)
    random_params[:, MIRROR] = (random_params[:, MIRROR] < 0.5) & spec.flip
    components = generator.standard_normal((images, 3), dtype=np.float32)
    if spec.jitter is not None:
        random_params[:, SHIFT] = color_shifts(spec.jitter, components)
    # The additions come last: what was drawn before stays the same without them.
    for columns in (COLOR_PARAMS, AREAS):
        some = random_params[:, columns]
        some[:] = generator.random(some.shape, dtype=np.float32)
    return random_params


def _columns(spec: AugmentSpec) -> int:
    """Returns how many random numbers an image takes."""
    if spec.random_resized_crop is not None:
        return AREAS.stop
    return COLOR_PARAMS.stop if spec.color_jitter is not None else SHIFT.stop
