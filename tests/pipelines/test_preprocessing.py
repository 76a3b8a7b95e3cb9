"""The served preprocessing as a function: the evaluation view's pixels from an image of any kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.data import ImageList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines import AugmentSpec, preprocess
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler

SPEC = AugmentSpec(resize=72, crop=64, mean=(120.0, 110.0, 100.0), std=(2.0, 3.0, 4.0))


@pytest.mark.parametrize(("kind", "levels"), [("torch", 0), ("dali", 2)])
@pytest.mark.parametrize("view", ["eval", "square"])
def test_the_pixels_are_those_of_the_evaluation_view(
    odd_list: ImageList, kind: str, levels: int, view: str
) -> None:
    """The same as the plain loader's; within two levels of 255 of DALI's, on every kind of image."""
    sampler = EpochSampler(num_images=len(odd_list), batch_size=8, shuffle=False)
    loader = make_loader(odd_list, SPEC, view, sampler, LoaderConfig(kind=kind))
    scale = np.reshape(SPEC.std, (3, 1, 1)) if view == "eval" else 1
    for batch in loader.epoch(0):
        for index, image in zip(batch.indices.tolist(), batch.images.numpy(), strict=True):
            mine = preprocess(odd_list.path(index), SPEC, view)
            assert (mine.shape, mine.dtype) == (image.shape, image.dtype)
            assert np.abs((mine.astype(np.float64) - image) * scale).max() <= levels + 1e-3 * bool(levels)


def test_path_bytes_image_and_array_are_the_same_image(odd_images: Path) -> None:
    file = odd_images / "exif-6.jpg"
    wanted = preprocess(file, SPEC)
    assert np.array_equal(preprocess(str(file), SPEC), wanted)
    assert np.array_equal(preprocess(file.read_bytes(), SPEC), wanted)
    with Image.open(file) as image:
        assert np.array_equal(preprocess(image, SPEC), wanted)
    upright = np.rot90(np.asarray(Image.open(file)), -1)
    assert np.array_equal(preprocess(np.ascontiguousarray(upright), SPEC), wanted)


def test_grey_and_alpha_arrays_are_images() -> None:
    grey = np.tile(np.arange(90, dtype=np.uint8), (80, 1))
    wanted = preprocess(grey, SPEC, "square")
    assert np.array_equal(preprocess(grey[:, :, None], SPEC, "square"), wanted)
    assert np.array_equal(preprocess(np.stack([grey] * 3, axis=2), SPEC, "square"), wanted)
    with_alpha = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    assert np.array_equal(preprocess(with_alpha, SPEC, "square"), wanted)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (b"hello", "cannot decode the image: not an image"),
        ("nowhere.jpg", "cannot decode nowhere.jpg: no such file or directory"),
        (np.zeros((4, 4, 3), np.float32), "an array of float32"),
        (np.zeros((3, 224, 224), np.uint8), "an array of uint8"),
        (np.zeros((0, 4, 3), np.uint8), "is no image"),
        (np.zeros(5, np.uint8), "is no image"),
        (np.zeros((1, 60_000), np.uint8), "60000 x 1 would become 4320000 x 72, which is too large"),
    ],
)
def test_what_is_no_image_is_refused(image: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        preprocess(image, SPEC)  # type: ignore[arg-type]
