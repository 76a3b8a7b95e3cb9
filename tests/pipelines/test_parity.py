"""The same pixels everywhere: DALI and the plain loader, image by image, with the random parts fixed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alexnet_fast.data import ImageList
from alexnet_fast.pipelines.augment.color_jitter import ColorJitter
from alexnet_fast.pipelines.augment.random_resized_crop import RandomResizedCrop
from alexnet_fast.pipelines.crop_windows import View
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec, Progressive


def by_name(images: ImageList, kind: str, view: View, spec: AugmentSpec) -> dict[str, torch.Tensor]:
    """Loads every image of a list once, in batches of 5, and returns the pixels by name."""
    sampler = EpochSampler(num_images=len(images), batch_size=5, shuffle=view == "train", seed=3)
    loader = make_loader(images, spec, view, sampler, LoaderConfig(kind=kind, workers=2))
    found = {}
    for batch in loader.epoch(0):
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            found[images.names[index]] = image.float()
    return found


def difference(images: ImageList, view: View, spec: AugmentSpec) -> dict[str, float]:
    """Returns the largest difference of DALI and Pillow for each image, in levels of 0..255."""
    dali, plain = (by_name(images, kind, view, spec) for kind in ("dali", "torch"))
    assert dali.keys() == plain.keys()
    return {name: (dali[name] - plain[name]).abs().max().item() for name in sorted(dali)}


@pytest.mark.parametrize("view", ["square", "eval", "train"])
def test_dali_and_pillow_give_the_same_pixels(odd_list: ImageList, view: View) -> None:
    worst = difference(odd_list, view, AugmentSpec())
    print(f"{view}: " + ", ".join(f"{name} {value:.2f}" for name, value in worst.items()))
    # Pillow rounds to whole levels between its two passes, DALI only at the end.
    assert max(worst.values()) <= 2.01, worst
    assert len(worst) >= 25


@pytest.mark.parametrize(
    ("spec", "gain"),
    [
        (AugmentSpec(random_resized_crop=RandomResizedCrop()), 1.0),
        # A matrix of colours makes a difference of levels larger: by 1.4 * 1.4 * 1.4 at most along an axis.
        (
            AugmentSpec(color_jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)),
            3.0,
        ),
        (AugmentSpec(progressive=Progressive(start=96, end=224, epochs=5)), 1.0),
    ],
    ids=["random-resized-crop", "color_jitter", "progressive"],
)
def test_dali_and_pillow_agree_on_the_random_parts(
    odd_list: ImageList, spec: AugmentSpec, gain: float
) -> None:
    worst = difference(odd_list, "train", spec)
    print(f"largest difference {max(worst.values()):.2f} levels: {max(worst, key=lambda name: worst[name])}")
    assert max(worst.values()) <= 2.01 * gain, worst


def test_the_mean_difference_is_a_fifth_of_a_level(odd_list: ImageList) -> None:
    spec = AugmentSpec()
    dali, plain = (by_name(odd_list, kind, "square", spec) for kind in ("dali", "torch"))
    mean = np.mean([(dali[name] - plain[name]).abs().mean().item() for name in dali])
    assert mean <= 0.2


def test_without_resizing_the_pixels_are_equal(odd_list: ImageList) -> None:
    exact = odd_list.select([odd_list.names.index("odd/exact.jpg")])
    spec = AugmentSpec(mean=(0.0, 0.0, 0.0))
    dali, plain = (by_name(exact, kind, "eval", spec) for kind in ("dali", "torch"))
    assert torch.equal(dali["odd/exact.jpg"], plain["odd/exact.jpg"])


@pytest.mark.parametrize(
    ("tag", "turn_back"),
    [(2, (1,)), (3, (0, 1)), (4, (0,))],
    ids=["mirrored", "upside down", "flipped"],
)
def test_upright_by_exif(odd_list: ImageList, tag: int, turn_back: tuple[int, ...]) -> None:
    """An image with an orientation tag comes out turned; undoing the turn gives the first image."""
    dali = by_name(odd_list, "dali", "square", AugmentSpec())
    upright, turned = dali["odd/exif-1.jpg"], dali[f"odd/exif-{tag}.jpg"]
    # The centre of an odd number of pixels is off by one after turning: near, not equal.
    near = (turned.flip(turn_back) - upright).abs().mean()
    assert near < 10
    assert (turned - upright).abs().mean() > 3 * near


@pytest.mark.parametrize("kind", ["dali", "torch"])
def test_normalisation_and_jitter_are_what_the_spec_says(odd_list: ImageList, kind: str) -> None:
    """The training view is (raw crop - mean + shift of the image) / std."""
    raw = AugmentSpec(mean=(0.0, 0.0, 0.0), jitter=None)
    spec = AugmentSpec(mean=(100.0, 110.0, 120.0), std=(2.0, 4.0, 8.0))
    sampler = EpochSampler(num_images=len(odd_list), batch_size=5, shuffle=True, seed=3)
    plans = list(sampler.epoch(0, spec))
    shifts = {
        odd_list.names[index]: torch.from_numpy(draw[3:6])
        for plan in plans
        for index, draw in zip(plan.indices.tolist(), plan.random_params, strict=True)
    }
    plain, jittered = by_name(odd_list, kind, "train", raw), by_name(odd_list, kind, "train", spec)
    mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
    for name, shift in shifts.items():
        wanted = (plain[name] - (mean - shift)[:, None, None]) / std[:, None, None]
        torch.testing.assert_close(jittered[name], wanted, rtol=0, atol=1e-4)
