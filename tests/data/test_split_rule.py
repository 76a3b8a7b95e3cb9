"""The split of an undivided data set: every class gives its share, and images stay where they are."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_fast.data import ExcludeList, open_data, open_split
from alexnet_fast.data.image_list import StringArray, split_points
from alexnet_fast.data.split_rule import recorded_rule, validation_mask

FRACTIONS = st.floats(0.01, 0.99)
POINTS = st.lists(st.integers(0, 999), min_size=1, max_size=60)


def mask_of(points: list[int], fraction: float) -> np.ndarray:
    """Returns the mask of one class."""
    return validation_mask(np.zeros(len(points), np.int64), np.array(points) / 1000, fraction)


@given(points=POINTS, fraction=FRACTIONS)
@settings(max_examples=60, deadline=None)
def test_each_class_gives_about_its_share(points: list[int], fraction: float) -> None:
    held, n = int(mask_of(points, fraction).sum()), len(points)
    if n == 1:
        assert held == 0
        return
    assert 1 <= held <= n - 1
    assert held >= min(n - 1, math.floor(fraction * n / 2))
    assert held <= max(1, math.ceil(2 * fraction * n))


@given(points=POINTS, new=st.integers(0, 999), fraction=FRACTIONS)
@settings(max_examples=100, deadline=None)
def test_one_image_more_moves_at_most_one_other(points: list[int], new: int, fraction: float) -> None:
    """Wherever the new one stands in the list."""
    before = mask_of(points, fraction)
    # Equal points go by the order of the list: the new one comes last.
    after = mask_of([*points, new], fraction)
    assert (before != after[:-1]).sum() <= 1


@given(points=POINTS, more=POINTS, fraction=FRACTIONS)
@settings(max_examples=50, deadline=None)
def test_nothing_moves_where_the_bounds_do_not_bind(
    points: list[int], more: list[int], fraction: float
) -> None:
    both = [points, points + more]
    below = [np.array(some) / 1000 < fraction for some in both]
    before, after = (mask_of(some, fraction) for some in both)
    if (before == below[0]).all() and (after == below[1]).all():
        assert (before == after[: len(points)]).all()


@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6), fraction=FRACTIONS, seed=st.integers(0, 99)
)
@settings(max_examples=30, deadline=None)
def test_classes_are_split_by_themselves(sizes: list[int], fraction: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    points = np.random.default_rng(seed).random(len(labels))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    mask = np.empty(len(labels), bool)
    mask[shuffled] = validation_mask(labels[shuffled], points[shuffled], fraction)
    for label in range(len(sizes)):
        mine = labels == label
        alone = validation_mask(np.zeros(mine.sum(), np.int64), points[mine], fraction)
        assert (mask[mine] == alone).all()


@pytest.mark.parametrize(("classes", "size"), [(40, 30), (20, 10), (3, 5), (2, 2), (257, 80), (100, 2)])
def test_ordinary_shapes_are_split(tmp_path: Path, classes: int, size: int) -> None:
    labels = np.repeat(np.arange(classes), size)
    names = [f"c{label:03d}/p{n:03d}" for label in range(classes) for n in range(size)]
    mask = validation_mask(labels, split_points(StringArray.of(names)), 0.1)
    held = np.bincount(labels, mask)
    assert held.min() >= 1
    assert held.max() <= max(1, math.ceil(0.2 * size))
    assert abs(held.sum() - max(0.1 * size, 1) * classes) < 0.25 * max(0.1 * size, 1) * classes


def test_large_classes_are_split_as_before() -> None:
    """By rule 1: the bounds do not bind."""
    points = np.random.default_rng(0).random(20 * 1300)
    labels = np.repeat(np.arange(20), 1300)
    assert (validation_mask(labels, points, 0.1) == validation_mask(labels, points, 0.1, 1)).all()


def touch(root: Path, classes: int, size: int) -> None:
    for label in range(classes):
        (root / f"c{label:02d}").mkdir(parents=True)
        for number in range(size):
            (root / f"c{label:02d}" / f"p{number:03d}.jpg").touch()


def test_a_class_of_one_image_is_trained_on_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, 3, 10)
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "only.jpg").touch()
    splits = open_data(tmp_path)
    assert "single/only.jpg" in splits.train.names
    assert f"the validation split of {tmp_path} has no images of class single" in caplog.text


def test_what_is_left_out_moves_nothing(tmp_path: Path) -> None:
    """Also where the bounds bind: the split is made before anything is left out."""
    touch(tmp_path, 20, 10)
    whole = open_data(tmp_path)
    gone = frozenset({whole.val.names[0], whole.train.names[3], whole.train.names[50]})
    less = open_data(tmp_path, exclude=ExcludeList(Path("bad.txt"), gone))
    assert set(less.val.names) == set(whole.val.names) - gone
    assert set(less.train.names) == set(whole.train.names) - gone


def test_a_run_from_before_keeps_its_split(tmp_path: Path) -> None:
    touch(tmp_path, 30, 12)
    old, new = open_data(tmp_path, rule=1), open_data(tmp_path)
    assert set(old.val.names) != set(new.val.names)
    points = split_points(StringArray.of([*old.train.names, *old.val.names]))
    assert int((points < 0.1).sum()) == len(old.val)
    assert open_split(tmp_path, "val", old.classes, rule=1).names == old.val.names
    assert (old.rule, new.rule) == (1, 2)


@pytest.mark.parametrize(
    ("provenance", "rule"),
    [({"val_fraction": 0.1}, 1), ({"val_fraction": 0.1, "split_rule": 2}, 2), ({"weights": "x.pth"}, 2)],
)
def test_which_rule_a_network_was_trained_by(provenance: dict[str, object], rule: int) -> None:
    assert recorded_rule(provenance) == rule
