"""Random augmentation beyond the paper's: definition, random parameters and pixels."""

from __future__ import annotations

import colorsys
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet_fast.data import ImageList, open_data
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.augment.color_jitter import ColorJitter, color_transforms
from alexnet_fast.pipelines.augment.random_resized_crop import TRIES, RandomResizedCrop, random_boxes
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.pipelines.spec import AugmentSpec, Progressive

LIMITS = ColorJitter(brightness=0.5, contrast=0.5, saturation=1.0, hue=0.5)


def changed(rgb: tuple[float, float, float], draw: tuple[float, float, float, float]) -> np.ndarray:
    """Returns a colour after the jitter that brightness, contrast, saturation and hue parameters choose."""
    matrix, offset = color_transforms(np.array([draw], np.float32), LIMITS)
    return matrix[0] @ np.array(rgb, np.float32) + offset[0]


def test_a_draw_in_the_middle_changes_no_colour() -> None:
    matrix, offset = color_transforms(np.full((1, 4), 0.5, np.float32), LIMITS)
    np.testing.assert_allclose(matrix[0], np.eye(3), atol=1e-6)
    np.testing.assert_allclose(offset[0], 0, atol=1e-4)


def test_brightness_scales_contrast_keeps_the_middle_and_saturation_the_luma() -> None:
    red = (200.0, 40.0, 60.0)
    np.testing.assert_allclose(changed(red, (0.0, 0.5, 0.5, 0.5)), np.array(red) * 0.5, rtol=1e-5)
    np.testing.assert_allclose(changed((128, 128, 128), (0.5, 0.0, 0.5, 0.5)), 128, rtol=1e-5)
    np.testing.assert_allclose(changed(red, (0.5, 0.0, 0.5, 0.5)), 128 + (np.array(red) - 128) / 2, rtol=1e-5)
    luma = 0.30 * 200 + 0.59 * 40 + 0.11 * 60
    np.testing.assert_allclose(changed(red, (0.5, 0.5, 0.0, 0.5)), luma, rtol=1e-4)


def test_hue_turns_in_yiq_as_colorsys_defines_it() -> None:
    """A quarter turn and a half turn, against Python's own conversion."""
    rgb = (180.0, 90.0, 30.0)
    y, i, q = colorsys.rgb_to_yiq(*(value / 255 for value in rgb))
    for draw, turn in ((0.75, 0.25), (1.0, 0.5)):
        got = changed(rgb, (0.5, 0.5, 0.5, draw))
        gy, gi, gq = np.array(colorsys_rgb_to_yiq(got))
        angle = 2 * math.pi * turn
        assert gy == pytest.approx(y, abs=1e-5)
        assert gi == pytest.approx(i * math.cos(angle) - q * math.sin(angle), abs=1e-4)
        assert gq == pytest.approx(i * math.sin(angle) + q * math.cos(angle), abs=1e-4)
    np.testing.assert_allclose(changed((77, 77, 77), (0.5, 0.5, 0.5, 0.8)), 77, rtol=1e-4)


def colorsys_rgb_to_yiq(rgb: np.ndarray) -> tuple[float, float, float]:
    """colorsys clips nothing on the way to YIQ."""
    red, green, blue = (float(value) / 255 for value in rgb)
    return colorsys.rgb_to_yiq(red, green, blue)


def reference_box(
    height: int, width: int, tries: np.ndarray, bounds: RandomResizedCrop
) -> tuple[int, int] | None:
    """The published definition, one image at a time: (height, width) of the area, None for the fallback."""
    for attempt in range(TRIES):
        share = bounds.min_scale + tries[attempt] * (bounds.max_scale - bounds.min_scale)
        low, high = math.log(bounds.min_ratio), math.log(bounds.max_ratio)
        shape = math.exp(low + tries[TRIES + attempt] * (high - low))
        area = height * width * share
        wide, tall = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < wide <= width and 0 < tall <= height:
            return tall, wide
    return None


def test_random_areas_are_those_of_the_published_definition() -> None:
    random = np.random.default_rng(7)
    sizes = random.integers(1, 600, (500, 2))
    tries = random.random((500, 2 * TRIES), np.float32)
    places = random.random((500, 2), np.float32)
    bounds = RandomResizedCrop()
    corner, extent = random_boxes(sizes, places, tries, bounds)
    assert (corner >= 0).all()
    assert (corner + extent <= sizes).all()
    assert (extent >= 1).all()
    fallbacks = 0
    for row, (height, width) in enumerate(sizes.tolist()):
        wanted = reference_box(height, width, tries[row].astype(float), bounds)
        fallbacks += wanted is None
        if wanted is not None:
            assert tuple(extent[row]) == wanted
    assert 0 < fallbacks < 250


def test_the_area_in_the_middle_where_none_fits() -> None:
    """For a strip: the widest allowed area, as high as the strip, in its centre."""
    sizes = np.array([[30, 900], [900, 30]])
    tries = np.full((2, 2 * TRIES), 0.999, np.float32)
    corner, extent = random_boxes(sizes, np.zeros((2, 2), np.float32), tries, RandomResizedCrop())
    assert extent.tolist() == [[30, 40], [40, 30]]
    assert corner.tolist() == [[0, 430], [430, 0]]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: RandomResizedCrop(min_scale=0), "--crop-min-scale 0 is no fraction"),
        (lambda: RandomResizedCrop(min_scale=1.5), "--crop-min-scale 1.5 is no fraction"),
        (lambda: ColorJitter(hue=0.6), "--hue 0.6 is out of range"),
        (lambda: ColorJitter(brightness=-1), "--brightness -1 is out of range"),
        (lambda: Progressive.parse("128", 10), "--progressive-resize 128 is no range"),
        (lambda: Progressive.parse("a:224", 10), "--progressive-resize a:224 is no range"),
        (lambda: Progressive.parse("0:224:5", 10), "--progressive-resize 0:224:5 is no range"),
        (lambda: Progressive.parse("1:2:3:4", 10), "--progressive-resize 1:2:3:4 is no range"),
        (lambda: AugmentSpec(progressive=Progressive(start=64, end=200, epochs=3)), "ends at 200"),
    ],
)
def test_values_out_of_range(make: object, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        make()  # type: ignore[operator]
    assert caught.value.exit_code == 2


def test_the_course_of_sides() -> None:
    course = Progressive.parse("128:224:5", 90)
    assert [course.side(epoch) for epoch in range(7)] == [128, 160, 192, 192, 224, 224, 224]
    assert Progressive.parse("112:227", 3) == Progressive(start=112, end=227, epochs=3)
    assert [Progressive.parse("112:227", 3).side(epoch) for epoch in range(4)] == [112, 160, 227, 227]
    assert Progressive(start=128, end=224, epochs=1).side(0) == 224


def test_small_images_show_as_much_as_large_ones() -> None:
    spec = AugmentSpec(progressive=Progressive(start=112, end=224, epochs=3))
    assert (spec.in_epoch(0).resize, spec.in_epoch(0).crop) == (128, 112)
    assert (spec.in_epoch(2).resize, spec.in_epoch(2).crop) == (256, 224)
    assert AugmentSpec().in_epoch(0) == AugmentSpec()


def test_the_spec_with_every_part_survives_json_and_older_ones_load() -> None:
    spec = AugmentSpec(
        random_resized_crop=RandomResizedCrop(min_scale=0.2),
        color_jitter=ColorJitter(hue=0.1),
        progressive=Progressive(start=128, end=224, epochs=10),
    )
    assert AugmentSpec.from_dict(spec.to_dict()) == spec
    older = AugmentSpec().to_dict()
    assert not {"random_resized_crop", "color_jitter", "progressive"} & older.keys()
    assert AugmentSpec.from_dict(older) == AugmentSpec()
    with pytest.raises(UserError, match="not one of this version"):
        AugmentSpec.from_dict({**older, "color_jitter": {"gamma": 2}})


def test_what_was_drawn_before_stays_the_same_beside_the_additions() -> None:
    sampler = EpochSampler(num_images=40, batch_size=40, shuffle=True, seed=9)
    plain = next(sampler.epoch(2, AugmentSpec()))
    for spec in (AugmentSpec(color_jitter=LIMITS), AugmentSpec(random_resized_crop=RandomResizedCrop())):
        more = next(sampler.epoch(2, spec))
        assert np.array_equal(more.indices, plain.indices)
        assert np.array_equal(more.random_params[:, :6], plain.random_params)
        added = more.random_params[:, 6:]
        assert ((added >= 0) & (added < 1)).all()
        assert len(np.unique(added)) > 0.9 * added.size


@pytest.mark.parametrize("kind", ["dali", "torch"])
def test_the_side_follows_the_epoch_without_another_loader(two_classes: Path, kind: str) -> None:
    train = open_data(two_classes).train
    spec = AugmentSpec(resize=72, crop=64, progressive=Progressive(start=32, end=64, epochs=3))
    sampler = EpochSampler(num_images=len(train), batch_size=12, shuffle=True)
    loader = make_loader(train, spec, "train", sampler, LoaderConfig(kind=kind, workers=2))
    sides = [{batch.images.shape[2] for batch in loader.epoch(epoch)} for epoch in (0, 2, 0)]
    assert sides == [{32}, {64}, {32}]
    again = next(loader.epoch(1)).images
    assert again.is_contiguous(memory_format=torch.channels_last)
    validation = make_loader(train, spec, "eval", sampler, LoaderConfig(kind=kind, workers=2))
    assert next(validation.epoch(0)).images.shape[2] == 64


def test_evaluated_pixels_do_not_depend_on_the_random_parts(odd_list: ImageList) -> None:
    plain = AugmentSpec()
    full = AugmentSpec(
        random_resized_crop=RandomResizedCrop(),
        color_jitter=LIMITS,
        progressive=Progressive(start=64, end=224, epochs=9),
    )
    sampler = EpochSampler(num_images=len(odd_list), batch_size=len(odd_list), shuffle=False)
    for view in ("eval", "square"):
        one, other = (
            next(make_loader(odd_list, spec, view, sampler, LoaderConfig(workers=2)).epoch(0)).images
            for spec in (plain, full)
        )
        assert torch.equal(one, other)
