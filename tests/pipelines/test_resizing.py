"""The CPU resizes a view to the pixels that Pillow gives it in the whole resized image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.pipelines.augment.random_resized_crop import RandomResizedCrop
from alexnet_fast.pipelines.cpu.finish import Postprocessor
from alexnet_fast.pipelines.cpu.pillow import shrink, training_crop
from alexnet_fast.pipelines.crop_windows import view_windows
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec

COUNT = 60


def drawn(spec: AugmentSpec) -> np.ndarray:
    """Returns the random parameters of 60 views; the first four are at the corners."""
    random_params = next(
        EpochSampler(num_images=COUNT, batch_size=COUNT, shuffle=True).epoch(0, spec)
    ).random_params.copy()
    random_params[:4, :2] = [(0, 0), (0, 0.9999), (0.9999, 0), (0.9999, 0.9999)]
    return random_params


def ours(image: Image.Image, spec: AugmentSpec, random_params: np.ndarray) -> np.ndarray:
    """Cuts the parts of the windows out of an image, and finishes them."""
    pixels = np.array(image)
    sizes = np.tile(pixels.shape[:2], (COUNT, 1))
    windows = view_windows(sizes, random_params, spec, "train", align=True)
    spans = zip(windows.start.tolist(), windows.end.tolist(), strict=True)
    parts = [pixels[top:bottom, left:right].copy() for (top, left), (bottom, right) in spans]
    return Postprocessor("train", LoaderConfig()).views(parts, windows).numpy()


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (90, 64), (640, 427), (64, 700)], ids=str)
@pytest.mark.parametrize("area", [None, RandomResizedCrop()], ids=["crop", "random-resized-crop"])
def test_views_anywhere_are_those_of_pillow(
    photographs: list[Image.Image], size: tuple[int, int], area: RandomResizedCrop | None
) -> None:
    """Enlarged and reduced, at every border; far views of long images, which are not aligned, too."""
    spec = AugmentSpec(resize=72, crop=64, random_resized_crop=area)
    image, random_params = photographs[0].resize(size), drawn(spec)
    found = ours(image, spec, random_params).astype(int)
    wanted = np.stack([training_crop(image, spec, draw) for draw in random_params])
    assert np.abs(found - wanted).max() <= 2
    assert (found != wanted).mean() < 0.1


def test_a_part_has_exactly_the_pixels_of_the_whole(photographs: list[Image.Image]) -> None:
    spec = AugmentSpec(resize=72, crop=64)
    image, random_params = photographs[0].resize((500, 375)), drawn(spec)
    whole = ours(image, AugmentSpec(resize=72, crop=72), np.zeros_like(random_params))[0]
    assert whole.shape == (72, 72, 3)
    near = random_params[:, 1] * (shrink(image, spec).width - 64 + 1) < 9
    assert near.sum() >= 3
    for view, draw in zip(ours(image, spec, random_params)[near], random_params[near], strict=True):
        top, left = (int(draw[axis] * (length - 64 + 1)) for axis, length in ((0, 72), (1, 96)))
        assert np.array_equal(view, whole[top : top + 64, left : left + 64])
