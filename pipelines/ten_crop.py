"""The crops of an image, and the average of a network's answers over them.

Five crops are the four corners and the centre; ten crops add their mirror images. The probabilities, not the
logits, are averaged (Krizhevsky et al. 2012, section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.spec import AugmentSpec

if TYPE_CHECKING:
    import torch

    from alexnet_fast.utils.arrays import Floats

Crops = Literal["single", "five", "ten"]

# Number of crops of each kind.
CROPS: dict[Crops, int] = {"single": 1, "five": 5, "ten": 10}


def crop_offsets(spec: AugmentSpec, crops: Crops) -> tuple[tuple[int, int], ...]:
    """Returns the (top, left) of each unmirrored crop in the `resize` x `resize` square.

    The centre is at `margin // 2`. For five and ten crops: four corners in reading order, then the centre.

    Raises:
        UserError: Several crops are requested, but the network takes the whole image.
    """
    far, centre = spec.margin, spec.margin // 2
    if crops == "single":
        return ((centre, centre),)
    if far == 0:
        raise UserError(
            f"{crops} crops need an image larger than the network's input: both are {spec.crop} pixels",
            "use --single-crop, or train with a --crop smaller than --resize",
            exit_code=2,
        )
    return ((0, 0), (0, far), (far, 0), (far, far), (centre, centre))


def crop_shifts(spec: AugmentSpec, crops: Crops, seed: int = 0) -> Floats:
    """Draws a colour shift for each crop, as training draws one for each image.

    The paper jitters in training only; some of its copies average over jittered crops. Every image gets the
    same shifts, so that an answer depends on the image and the seed only.

    Args:
        spec: Source of the jitter.
        crops: Kind of crops.
        seed: Seed of the shifts.

    Returns:
        float32 (K, 3): added to R, G and B of each crop, on the 0..255 scale.

    Raises:
        UserError: The model was trained without jitter.
    """
    import numpy as np

    from alexnet_fast.pipelines.augment.pca import color_shifts

    if spec.jitter is None:
        raise UserError("this model was trained without colour jitter", "leave out --jitter", exit_code=2)
    generator = np.random.Generator(np.random.Philox(key=seed))
    components = generator.standard_normal((CROPS[crops], 3), dtype=np.float32)
    return color_shifts(spec.jitter, components).astype(np.float32)


def take_crops(
    images_nhwc: torch.Tensor, spec: AugmentSpec, crops: Crops, shifts: Floats | None = None
) -> torch.Tensor:
    """Cuts and normalises the crops of a batch of square images.

    Args:
        images_nhwc: uint8 (N, resize, resize, 3), RGB.
        spec: Sizes and normalisation.
        crops: "single" for the centre, "five" for the corners too, "ten" for these and their mirror images.
        shifts: (K, 3), added to the colours of each crop; None for none.

    Returns:
        float32 (K * N, 3, crop, crop) in channels_last order, crop by crop: the first N rows are the first
        crop of each image. With ten crops, the rows from 5 N on are mirror images of the first five crops.
    """
    import torch

    pixels_nhwc = images_nhwc.to(torch.float32)
    pixels_nhwc = pixels_nhwc.sub(pixels_nhwc.new_tensor(spec.mean)).div(pixels_nhwc.new_tensor(spec.std))
    side = spec.crop
    cuts = [pixels_nhwc[:, top : top + side, left : left + side] for top, left in crop_offsets(spec, crops)]
    if crops == "ten":
        cuts += [cut.flip(2) for cut in cuts]
    if shifts is not None:
        scaled = pixels_nhwc.new_tensor(shifts) / pixels_nhwc.new_tensor(spec.std)
        cuts = [cut + shift for cut, shift in zip(cuts, scaled, strict=True)]
    return torch.cat(cuts).permute(0, 3, 1, 2)


def crop_probabilities(
    net: Callable[[torch.Tensor], torch.Tensor],
    images_nhwc: torch.Tensor,
    spec: AugmentSpec,
    crops: Crops,
    shifts: Floats | None = None,
) -> torch.Tensor:
    """Averages a network's class probabilities over the crops of each image.

    Args:
        net: Maps float (M, 3, crop, crop) to logits (M, classes).
        images_nhwc: uint8 (N, resize, resize, 3), RGB.
        spec: Sizes and normalisation.
        crops: Kind of crops.
        shifts: As for `take_crops`.

    Returns:
        float32 (N, classes), rows summing to 1.
    """
    logits = net(take_crops(images_nhwc, spec, crops, shifts))
    probabilities = logits.float().softmax(dim=1)
    return probabilities.reshape(-1, images_nhwc.shape[0], logits.shape[1]).mean(dim=0)
