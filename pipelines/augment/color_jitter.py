"""Random brightness, contrast, saturation and hue, as one matrix per image."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from alexnet_fast.errors import UserError
from alexnet_fast.utils.arrays import Floats

# RGB to YIQ, the colour space of NTSC (FCC 1953), with the coefficients of Python's colorsys: the first row
# is the luma, the other two span the plane in which hue is an angle and saturation a length.
_YIQ = np.array([[0.30, 0.59, 0.11], [0.599, -0.2773, -0.3217], [0.213, -0.5251, 0.3121]])

# The level that contrast leaves alone: the middle of 0..255, as in DALI's color_twist.
_GREY = 128.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Ranges of the random colour changes of a training image; each amount is drawn uniformly.

    Args:
        brightness: b scales every level by 1 - b to 1 + b.
        contrast: c scales the distance from the middle level by 1 - c to 1 + c.
        saturation: s scales the distance from grey by 1 - s to 1 + s.
        hue: h rotates the hue by up to h of a full turn either way.

    Raises:
        UserError: An amount is out of range.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5)):
            amount = getattr(self, name)
            if not 0 <= amount <= most:
                raise UserError(f"--{name} {amount:g} is out of range", f"give 0 to {most:g}", exit_code=2)


def color_transforms(random_params: Floats, limits: ColorJitter) -> tuple[Floats, Floats]:
    """Returns the colour change of each image: `matrix @ rgb + offset`.

    The steps are hue and saturation in YIQ, then contrast, then brightness; nothing is rounded or clipped in
    between, so they are one matrix and one offset.

    Args:
        random_params: (B, 4) in [0, 1): brightness, contrast, saturation, hue; 0.5 changes nothing.
        limits: Ranges of the amounts.

    Returns:
        float32 (B, 3, 3) and (B, 3), on the 0..255 scale.
    """
    spread = random_params.astype(np.float64) * 2 - 1
    amounts = np.array([limits.brightness, limits.contrast, limits.saturation])
    brightness, contrast, saturation = (1 + spread[:, :3] * amounts).T
    rotated = np.linalg.inv(_YIQ) @ _rotations(spread[:, 3] * limits.hue, saturation) @ _YIQ
    matrices = rotated * (brightness * contrast)[:, None, None]
    offsets = np.repeat((brightness * (1 - contrast) * _GREY)[:, None], 3, axis=1)
    return matrices.astype(np.float32), offsets.astype(np.float32)


def _rotations(
    turns: npt.NDArray[np.float64], saturation: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Returns matrices (B, 3, 3) in YIQ that keep the luma, rotate the hue and scale the saturation."""
    cosine = np.cos(2 * np.pi * turns) * saturation
    sine = np.sin(2 * np.pi * turns) * saturation
    matrices = np.zeros((len(turns), 3, 3))
    matrices[:, 0, 0] = 1
    matrices[:, 1, 1], matrices[:, 1, 2] = cosine, -sine
    matrices[:, 2, 1], matrices[:, 2, 2] = sine, cosine
    return matrices
