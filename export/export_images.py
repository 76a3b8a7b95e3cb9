"""The images that an export needs, and generated ones if there are none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.utils.arrays import Pixels

# Every export is compared on at least this number of images.
LEAST = 8
# A generated image is a sum of squares of one colour. These are their sides as shares of the image's: from
# noise to half of the image, the finer the weaker, as in photographs.
_OCTAVES = (0.5, 0.25, 0.125, 0.0625, 0.03125, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VerificationImages:
    """Images to compare an export with PyTorch on.

    Args:
        nhwc_u8: uint8 (N, resize, resize, 3), RGB.
        labels: int64 (N,), the class of each; None if unknown.
        source: A data set, the images that int8 was calibrated on, or our generator.
    """

    nhwc_u8: Pixels
    labels: np.ndarray[Any, np.dtype[np.int64]] | None = None
    source: Literal["real", "calibration", "generated"] = "real"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExportImages:
    """The images of one export.

    Args:
        verification: To measure the accuracy on, with `ExportConfig.verify` or any precision but fp32.
        calibration: Training images for int8: uint8 (N, resize, resize, 3), RGB.
        comparison: uint8 (N, resize, resize, 3), RGB, to compare the files with PyTorch on if no accuracy is
            measured; None for generated ones.
    """

    verification: VerificationImages | None = None
    calibration: Pixels | None = None
    comparison: Pixels | None = None


def generated_images(spec: AugmentSpec, count: int = LEAST) -> VerificationImages:
    """Generates images that exercise a network, of different colours and contrasts; always the same ones.

    Args:
        spec: Their size.
        count: Number of images.
    """
    random = np.random.default_rng(20121203)
    return VerificationImages(
        nhwc_u8=np.stack([_generated(random, spec.resize) for _ in range(count)]), source="generated"
    )


def _generated(random: np.random.Generator, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns one image, uint8 (side, side, 3)."""
    pixels = np.zeros((side, side, 3))
    for octave in _OCTAVES:
        square = max(1, round(octave * side))
        places = -(-side // square) + 1
        colours = random.normal(0, 1, (places, places, 3)).repeat(square, 0).repeat(square, 1)
        # The offset is random too, so that the squares share no grid.
        top, left = random.integers(0, square, 2)
        pixels += colours[top : top + side, left : left + side] * (0.25 + octave)
    # Colour channels of photographs are correlated: half of each channel is the mean of all three.
    pixels = 0.5 * pixels + 0.5 * pixels.mean(axis=2, keepdims=True)
    brightness, contrast = random.uniform(60, 190, 3), random.uniform(30, 90)
    levels = brightness + contrast * pixels / max(pixels.std(), 1e-6)
    generated: Pixels = levels.clip(0, 255).astype(np.uint8)
    return generated
