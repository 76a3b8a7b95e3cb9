"""The random parts of training that the paper's augmentation does not have, as options name them."""

from __future__ import annotations

from typing import Any

from alexnet_fast.pipelines.distortion import ColourDistortion
from alexnet_fast.pipelines.progressive import Progressive
from alexnet_fast.pipelines.resized_crop import RandomResizedCrop
from alexnet_fast.training.config import TrainConfig


def random_parts(config: TrainConfig) -> dict[str, Any]:
    """Returns the fields of `AugmentSpec` that the options ask for; one that is off is None.

    Raises:
        UserError: A value is out of its range.
    """
    area = RandomResizedCrop(min_scale=config.min_scale)
    colours = ColourDistortion(
        brightness=config.brightness,
        contrast=config.contrast,
        saturation=config.saturation,
        hue=config.hue,
    )
    return {
        "random_resized_crop": area if config.random_resized_crop else None,
        "distortion": colours if colours != ColourDistortion() else None,
        "progressive": Progressive.parse(config.progressive, config.epochs) if config.progressive else None,
    }
