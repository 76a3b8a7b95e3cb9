"""The images that a network expects, and the three ways of preparing them that its weights may need."""

from __future__ import annotations

from dataclasses import dataclass

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The images that a network expects: RGB, `(x - mean) / std` with x from 0 to 255.

    Args:
        crop: Side of the square that enters the network, in pixels.
        resize: Shorter side of the stored image from which that square is cut, in pixels.
        mean: Subtracted, per channel R, G, B.
        std: Divides, per channel R, G, B.
    """

    crop: int
    resize: int
    mean: Triple
    std: Triple


# Mean RGB of ILSVRC-2012 on the 0..255 scale. The paper subtracts a mean and does not divide: its N(0, 0.01)
# weights are meant for inputs of this size.
PAPER_INPUT = InputSpec(crop=224, resize=256, mean=(127.30, 119.72, 104.91), std=(1.0, 1.0, 1.0))

# torchvision's ImageNet weights: mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225), times 255.
TORCHVISION_INPUT = InputSpec(
    crop=224, resize=256, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
)

# Caffe's mean image of ILSVRC-2012 (data/ilsvrc12/imagenet_mean.binaryproto, which get_ilsvrc_aux.sh
# fetches), averaged over its pixels and turned from BGR to RGB.
CAFFE_INPUT = InputSpec(
    crop=227, resize=256, mean=(122.67891434, 116.66876762, 104.00698793), std=(1.0, 1.0, 1.0)
)
