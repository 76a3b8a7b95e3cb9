"""Ten crops against the paper's definition, pixel by pixel: position, order and average."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import Crops, crop_offsets, crop_probabilities, take_crops

# A margin of 5: the centre lies between two pixels, and is taken above and left of the middle.
SPEC = AugmentSpec(resize=12, crop=7, mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0))
CORNERS = [(0, 0), (0, 5), (5, 0), (5, 5)]
CENTRE = (2, 2)


@pytest.fixture
def squares() -> np.ndarray:
    """uint8 (3, 12, 12, 3), in which no two pixels of an image are alike."""
    return np.random.default_rng(0).permuted(np.arange(3 * 432) % 256).astype(np.uint8).reshape(3, 12, 12, 3)


def test_four_corners_in_reading_order_then_the_centre() -> None:
    assert crop_offsets(SPEC, "five") == crop_offsets(SPEC, "ten") == (*CORNERS, CENTRE)
    assert crop_offsets(SPEC, "single") == (CENTRE,)
    assert crop_offsets(AugmentSpec(), "ten")[-1] == (16, 16)


def test_a_crop_is_cut_less_the_mean_over_the_deviation_and_the_second_five_are_mirrored(
    squares: np.ndarray,
) -> None:
    rows = iter(take_crops(torch.from_numpy(squares), SPEC, "ten").numpy())
    for mirrored in (False, True):
        for top, left in (*CORNERS, CENTRE):
            for square in squares:
                cut = square[top : top + 7, left : left + 7].astype(np.float32)
                cut = cut[:, ::-1] if mirrored else cut
                wanted = (cut - np.float32(SPEC.mean)) / np.float32(SPEC.std)
                np.testing.assert_array_equal(next(rows), wanted.transpose(2, 0, 1))
    assert next(rows, None) is None


@pytest.mark.parametrize(("crops", "count"), [("single", 1), ("five", 5), ("ten", 10)])
def test_probabilities_of_an_image_are_averaged_over_its_own_crops(
    squares: np.ndarray, crops: Crops, count: int
) -> None:
    """Logits would give crops with a confident answer more weight."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 7 * 7, 4))
    with torch.inference_mode():
        found = crop_probabilities(net, torch.from_numpy(squares), SPEC, crops)
        each = net(take_crops(torch.from_numpy(squares), SPEC, crops)).numpy().astype(np.float64)
    shares = np.exp(each) / np.exp(each).sum(axis=1, keepdims=True)
    for place, row in enumerate(found.numpy()):
        mine = shares[place :: len(squares)]
        assert len(mine) == count
        np.testing.assert_allclose(row, mine.mean(axis=0), rtol=1e-5, atol=1e-6)
