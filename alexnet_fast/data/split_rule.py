"""Which images of an undivided data set are held back for validation.

Every image has a fixed point in [0, 1), a hash of its name (`ImageList.split_points`), and those below the
fraction are held back. So an image never changes sides because others come or go. By itself that would take
none of some small classes, and half of others; rule 2 bounds it, class by class: of a class of n images it
holds back the k with the lowest points, k as many as lie below the fraction, but

    - at least 1 where n >= 2, and at least half of the class's share (fraction x n),
    - at most n - 1, and at most twice its share (1 where that is less).

Adding an image to a class moves at most one other image of that class, and none where the bounds do not bind,
as in nearly every class of a hundred and more; other classes never change. (One image more changes n by one
and the number below the fraction by at most one, so k stays or grows by one; and the k lowest points of a set
differ from the k lowest of the set and one more by one image at most.)

Rule 1, without the bounds, is that of runs from before; they go on with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

CURRENT_RULE = 2


def recorded_rule(provenance: Mapping[str, Any]) -> int:
    """Returns the rule by which the data of a network were divided; the current one where none were."""
    trained_before = "val_fraction" in provenance and "split_rule" not in provenance
    return 1 if trained_before else int(provenance.get("split_rule", CURRENT_RULE))


def validation_mask(
    labels: npt.NDArray[np.int64], points: npt.NDArray[np.float64], fraction: float, rule: int = CURRENT_RULE
) -> npt.NDArray[np.bool_]:
    """Returns which images are held back.

    Args:
        labels: int64 (N,), the class of each image.
        points: float64 (N,), its point in [0, 1).
        fraction: Share of each class, between 0 and 1.
        rule: 1 or 2, see above.

    Returns:
        bool (N,), true for validation.
    """
    below = points < fraction
    if rule == 1:
        return below
    # Class by class, within a class by point; of equal points the earlier image comes first.
    order = np.lexsort((points, labels))
    sizes, held = np.bincount(labels), np.bincount(labels, below).astype(np.int64)
    bounds = [_bounds(size, fraction) for size in sizes.tolist()]
    least, most = np.array(bounds, np.int64).reshape(-1, 2).T
    counts = np.clip(held, least, most)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    mask = np.zeros(len(labels), bool)
    mask[order] = place < np.repeat(counts, sizes)
    return mask


def _bounds(size: int, fraction: float) -> tuple[int, int]:
    """Returns the fewest and the most images that a class gives to validation."""
    if size < 2:
        return 0, 0
    share = fraction * size
    least = min(size - 1, max(1, math.floor(share / 2)))
    return least, max(least, min(size - 1, math.ceil(2 * share)))
