"""The images that an export needs, and those that are made where there are none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from alexnet_fast.pipelines.spec import AugmentSpec
    from alexnet_fast.utils.arrays import Pixels

# How many every export is compared on at least.
LEAST = 8
# Sides of the squares of one colour that a generated image is a sum of, as shares of its own side: from
# noise to what fills half of it, the finer the weaker, as in photographs.
_OCTAVES = (0.5, 0.25, 0.125, 0.0625, 0.03125, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class VerificationImages:
    """Images to try an export on.

    Args:
        nhwc_u8: uint8 (N, resize, resize, 3), RGB.
        labels: int64 (N,), the class of each; None where it is not known.
        source: Where they come from: a data set, the images that int8 was calibrated on, or our generator.
    """

    nhwc_u8: Pixels
    labels: np.ndarray[Any, np.dtype[np.int64]] | None = None
    source: Literal["real", "calibration", "generated"] = "real"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExportImages:
    """All of them.

    Args:
        trial: To measure the accuracy on, with `ExportConfig.verify` or any precision but fp32.
        calibration: For int8: uint8 (N, resize, resize, 3), RGB, of the training images.
        few: uint8 (N, resize, resize, 3), RGB, to compare the files with PyTorch on where no accuracy is
            measured; None for generated ones.
    """

    trial: VerificationImages | None = None
    calibration: Pixels | None = None
    few: Pixels | None = None


def generated_images(spec: AugmentSpec, count: int = LEAST) -> VerificationImages:
    """Makes images that exercise a network, each of other colours and contrasts, always the same.

    Args:
        spec: Their size.
        count: How many.
    """
    random = np.random.default_rng(20121203)
    return VerificationImages(
        nhwc_u8=np.stack([_generated(random, spec.resize) for _ in range(count)]), source="generated"
    )


def _generated(random: np.random.Generator, side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns one, uint8 (side, side, 3)."""
    pixels = np.zeros((side, side, 3))
    for octave in _OCTAVES:
        square = max(1, round(octave * side))
        places = -(-side // square) + 1
        colours = random.normal(0, 1, (places, places, 3)).repeat(square, 0).repeat(square, 1)
        # Where the squares begin is drawn too: they are to lie on no common grid.
        top, left = random.integers(0, square, 2)
        pixels += colours[top : top + side, left : left + side] * (0.25 + octave)
    # Grey goes with grey in photographs: half of each colour is that of all three.
    pixels = 0.5 * pixels + 0.5 * pixels.mean(axis=2, keepdims=True)
    brightness, contrast = random.uniform(60, 190, 3), random.uniform(30, 90)
    levels = brightness + contrast * pixels / max(pixels.std(), 1e-6)
    generated: Pixels = levels.clip(0, 255).astype(np.uint8)
    return generated
