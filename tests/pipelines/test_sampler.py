"""Order and random parameters of an epoch, and the geometry that they choose."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.geometry import crop_starts, resized
from alexnet_fast.pipelines.sampler import BatchIndices, EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec

SPEC = AugmentSpec()


def indices(plans: list[BatchIndices]) -> list[int]:
    """Returns the image numbers of some batches in order."""
    return [index for plan in plans for index in plan.indices.tolist()]


def test_training_epochs_are_permutations_of_full_batches() -> None:
    sampler = EpochSampler(num_images=103, batch_size=10, shuffle=True, seed=1)
    first, second = (list(sampler.epoch(epoch, SPEC)) for epoch in (0, 1))
    assert len(first) == sampler.steps == 10
    assert {len(plan) for plan in first} == {10}
    assert len(set(indices(first))) == 100
    assert indices(first) != indices(second)


def test_evaluation_takes_every_image_once_in_order() -> None:
    sampler = EpochSampler(num_images=23, batch_size=10, shuffle=False)
    plans = list(sampler.epoch(0, SPEC))
    assert indices(plans) == list(range(23))
    assert [len(plan) for plan in plans] == [10, 10, 3]
    assert sampler.steps == 3


def test_the_same_seed_gives_the_same_epoch_and_another_seed_another() -> None:
    def plan(seed: int) -> BatchIndices:
        return next(EpochSampler(num_images=50, batch_size=50, shuffle=True, seed=seed).epoch(3, SPEC))

    assert np.array_equal(plan(1).random_params, plan(1).random_params)
    assert not np.array_equal(plan(1).random_params, plan(2).random_params)


def test_an_epoch_goes_on_in_the_middle_as_if_it_had_not_stopped() -> None:
    sampler = EpochSampler(num_images=60, batch_size=7, shuffle=True)
    whole, rest = list(sampler.epoch(2, SPEC)), list(sampler.epoch(2, SPEC, start=5))
    assert indices(rest) == indices(whole[5:])
    assert np.array_equal(rest[0].random_params, whole[5].random_params)


def test_an_images_draws_do_not_depend_on_batches_or_processes() -> None:
    def random_params(batch_size: int, world: int) -> dict[int, bytes]:
        found = {}
        for rank in range(world):
            sampler = EpochSampler(num_images=48, batch_size=batch_size, shuffle=True, rank=rank, world=world)
            for plan in sampler.epoch(0, SPEC):
                found.update(
                    zip(plan.indices.tolist(), (d.tobytes() for d in plan.random_params), strict=True)
                )
        return found

    assert random_params(48, 1) == random_params(6, 4)


@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_are_disjoint_and_cover_the_list(shuffle: bool) -> None:
    samplers = [
        EpochSampler(num_images=42, batch_size=5, shuffle=shuffle, rank=rank, world=3) for rank in range(3)
    ]
    seen = [indices(list(sampler.epoch(0, SPEC))) for sampler in samplers]
    together = sorted(sum(seen, []))
    assert len(together) == len(set(together))
    # Training drops what does not fill a batch on every rank; evaluation drops nothing.
    assert len(together) == (30 if shuffle else 42)
    assert len({sampler.steps for sampler in samplers}) == 1


def test_draws_follow_the_spec() -> None:
    sampler = EpochSampler(num_images=4000, batch_size=4000, shuffle=True)
    plan = next(sampler.epoch(0, SPEC))
    assert plan.random_params.dtype == np.float32
    assert ((plan.random_params[:, :2] >= 0) & (plan.random_params[:, :2] < 1)).all()
    assert 0.45 < plan.random_params[:, 2].mean() < 0.55
    assert SPEC.jitter is not None
    # The shift along the first component has the deviation that the constants say.
    along = plan.random_params[:, 3:] @ np.array(SPEC.jitter.eigenvectors)[:, 0]
    assert along.std() == pytest.approx(SPEC.jitter.stdev[0] * 0.1, rel=0.05)
    still = next(sampler.epoch(0, AugmentSpec(flip=False, jitter=None)))
    assert not still.random_params[:, 2:].any()


def test_a_batch_larger_than_the_data_set() -> None:
    with pytest.raises(UserError, match="--batch-size 64 exceeds the 40 training images") as caught:
        EpochSampler(num_images=40, batch_size=64, shuffle=True)
    assert "give --batch-size 40 or less" in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_shorter_side_becomes_the_one_asked_for() -> None:
    assert resized(640, 427, 256) == (384, 256)
    assert resized(3, 2, 256) == (384, 256)
    assert resized(1, 1000, 256) == (256, 256000)
    assert resized(256, 256, 256) == (256, 256)


def test_every_crop_position_is_equally_likely() -> None:
    starts = crop_starts(np.linspace(0, 1, 3300, endpoint=False), np.array(256), 224).tolist()
    assert sorted(set(starts)) == list(range(33))
    assert {starts.count(start) for start in range(33)} <= {99, 100, 101}
    assert crop_starts(np.array([0.9999999]), np.array([224]), 224).tolist() == [0]


def test_the_spec_survives_json() -> None:
    assert AugmentSpec.from_dict(SPEC.to_dict()) == SPEC
    plain = AugmentSpec(jitter=None, resize=64, crop=64)
    assert AugmentSpec.from_dict(plain.to_dict()) == plain
    with pytest.raises(UserError, match="not one of this version"):
        AugmentSpec.from_dict({"resize": 256, "colour": "red"})


def test_a_crop_that_does_not_fit() -> None:
    with pytest.raises(UserError, match="--crop 224 does not fit into images whose shorter side is 64"):
        AugmentSpec(resize=64)


def test_pillow_is_the_reference_for_sizes() -> None:
    """The size rule gives Pillow a size, and the result has it."""
    assert Image.new("RGB", (10, 7)).resize(resized(10, 7, 21)).size == (30, 21)
