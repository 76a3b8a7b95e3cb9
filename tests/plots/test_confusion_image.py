"""Plot of the confusion matrix, and the most confused pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.plots.confusion import confusion, most_confused
from alexnet_fast.plots.style import png_bytes

MATRIX = np.array([[8, 2, 0], [3, 7, 0], [0, 0, 0]])


class TestConfusion:
    def test_few_classes_have_counts_and_shares_of_their_row(self) -> None:
        axes = confusion(MATRIX, ("ant", "bee", "cow")).axes[0]
        assert [text.get_text() for text in axes.texts][:3] == ["8\n80.0%", "2\n20.0%", "0\n0.0%"]

    @pytest.mark.parametrize("count", [30, 200])
    def test_many_classes_have_colours_and_a_scale(self, count: int, pixels_of: Any) -> None:
        matrix = np.eye(count, dtype=np.int64) * 9 + 1
        figure = confusion(matrix, [f"class {number}" for number in range(count)])
        assert not figure.axes[0].texts
        assert len(figure.axes) == 2
        assert pixels_of(png_bytes(figure)).std() > 8

    def test_most_confused_goes_by_count_then_by_share(self) -> None:
        matrix = np.array([[90, 3, 3], [3, 5, 0], [5, 0, 0]])
        pairs = most_confused(matrix, ("a", "b", "c"), 3)
        assert [(pair.true, pair.predicted, pair.count) for pair in pairs] == [
            ("c", "a", 5),
            ("b", "a", 3),
            ("a", "b", 3),
        ]
        assert pairs[0].share == 1.0

    def test_a_perfect_matrix_has_no_confused_pair(self) -> None:
        assert most_confused(np.eye(3, dtype=np.int64), ("a", "b", "c")) == []

    def test_hostile_names_are_drawn_as_they_are(self, hostile: tuple[str, ...]) -> None:
        png_bytes(confusion(np.eye(len(hostile), dtype=np.int64), hostile))

    def test_names_must_fit(self) -> None:
        with pytest.raises(UserError, match="3x3 for 2 class names"):
            confusion(MATRIX, ("a", "b"))
