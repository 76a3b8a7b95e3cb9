"""The options of training that say what happens to the images; nothing heavy is imported to know them."""

from __future__ import annotations

# What the paper's augmentation does not have: the options of `augmentation.random_parts`.
RANDOM_PARTS = (
    "random_resized_crop",
    "min_scale",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "progressive",
)

AUGMENTATION = ("resize", "crop", "flip", "pca", "mean", *RANDOM_PARTS)
