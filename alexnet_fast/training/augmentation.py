"""The random parts of training that the paper's augmentation does not have, as options name them."""

from __future__ import annotations

from typing import Any

from alexnet_fast.pipelines.color_jitter import ColorJitter
from alexnet_fast.pipelines.progressive import Progressive
from alexnet_fast.pipelines.random_resized_crop import RandomResizedCrop


def random_parts(
    *, random_resized_crop: bool, min_scale: float, progressive: str | None, epochs: int, **amounts: float
) -> dict[str, Any]:
    """Returns the fields of `AugmentSpec` that the options ask for; one that is off is None.

    Args:
        random_resized_crop: Whether areas are random.
        min_scale: Their smallest share of an image.
        progressive: Course of the input side.
        epochs: Over which it runs, where it does not say.
        amounts: Of `ColorJitter`.

    Raises:
        UserError: A value is out of its range.
    """
    area = RandomResizedCrop(min_scale=min_scale)
    colours = ColorJitter(**amounts)
    return {
        "random_resized_crop": area if random_resized_crop else None,
        "distortion": colours if colours != ColorJitter() else None,
        "progressive": Progressive.parse(progressive, epochs) if progressive else None,
    }
