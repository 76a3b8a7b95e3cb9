"""Specs of networks, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The input of a network: RGB, `(x - mean) / std` with x from 0 to 255.

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


# Initialisations of the weights; `models.network` implements them.
Initial = Literal["paper", "kaiming", "torch", "xavier", "truncated"]


@dataclass(frozen=True, kw_only=True)
class ConvSpec:
    """One convolution.

    Args:
        channels: Kernels.
        kernel: Side of a kernel, in pixels.
        stride: Pixels between two places of the kernel.
        groups: Parts that see only their own part of the channels (the paper's two GPUs).
        bias: Initial bias.
        padding: Zeros around the map, in pixels; None for the default of the network's family.
    """

    channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: float = 0.0
    padding: int | None = None


@dataclass(frozen=True, kw_only=True)
class LrnSpec:
    """Constants of the local response normalisation, in the convention of `LocalResponseNorm`.

    The defaults are the paper's (section 3.3): its alpha of 1e-4 multiplies the sum over five channels.
    """

    size: int = 5
    alpha: float = 5e-4
    beta: float = 0.75
    k: float = 2.0


@dataclass(frozen=True, kw_only=True)
class NetSpec:
    """The fields that all specs share.

    Args:
        name: The name for `create_model`.
        input: The input images.
        dropout: Probability of dropping a unit; None if the network has no dropout.
        initial: Initialisation of the weights.
    """

    name: str
    input: InputSpec
    dropout: float | None = 0.5
    initial: Initial = "paper"

    def first_biases(self) -> dict[str, float]:
        """Returns the biases of the "paper" initialisation by layer; others are 0."""
        return {}

    def first_deviations(self) -> dict[str, float]:
        """Returns the standard deviations of the "paper" initialisation by layer; others are 0.01."""
        return {}


@dataclass(frozen=True, kw_only=True)
class ModelSpec(NetSpec):
    """A network of five convolutions and three fully-connected layers.

    Args:
        convs: `conv1` to `conv5`; max pooling follows 1, 2 and 5.
        same_padding: conv1 and the pools are padded as TensorFlow's "SAME" does, so that a layer of stride s
            leaves a side of n pixels ceil(n / s) of them.
        hidden: Units of `fc6` and `fc7`.
        hidden_bias: Initial bias of `fc6` and `fc7`.
        hidden_std: Standard deviation of the initial weights of `fc6` and `fc7`.
        lrn: LRN after layers 1 and 2; None for none.
        pool_first: Pools before LRN, as CaffeNet does, instead of after it.
        batch_norm: Batch normalisation of every layer but the last. "before" the ReLU, inference can fold
            it into the weights of the layer; "after" the ReLU it cannot.
        dropout_before: The fully-connected layers with dropout on their input.
        pool_dropout: Whether the pools are followed by dropout, too.
    """

    convs: tuple[ConvSpec, ...]
    same_padding: bool = False
    hidden: int = 4096
    hidden_bias: float = 1.0
    hidden_std: float = 0.01
    lrn: LrnSpec | None = field(default_factory=LrnSpec)
    pool_first: bool = False
    batch_norm: Literal["before", "after"] | None = None
    dropout_before: tuple[str, ...] = ("fc7", "fc8")
    pool_dropout: bool = False

    def first_biases(self) -> dict[str, float]:
        """See `NetSpec`."""
        biases = {f"conv{i}": conv.bias for i, conv in enumerate(self.convs, start=1)}
        return biases | {"fc6": self.hidden_bias, "fc7": self.hidden_bias}

    def first_deviations(self) -> dict[str, float]:
        """See `NetSpec`."""
        return {"fc6": self.hidden_std, "fc7": self.hidden_std}


@dataclass(frozen=True, kw_only=True)
class VggSpec(NetSpec):
    """A network of 3x3 convolutions in blocks, and three fully-connected layers.

    Args:
        blocks: Channels of every convolution of each block; a 2x2 pool of stride 2 follows a block.
        hidden: Units of `fc6` and `fc7`.
    """

    blocks: tuple[tuple[int, ...], ...]
    hidden: int = 4096


@dataclass(frozen=True, kw_only=True)
class ConvNetSpec(NetSpec):
    """A small network of 3x3 convolutions with batch norm, and global average pooling.

    Args:
        blocks: Channels of each block's convolution; a 2x2 pool of stride 2 follows each but the last.
    """

    blocks: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class MlpSpec(NetSpec):
    """A network of fully-connected layers alone, on the pixels of an image.

    Args:
        hidden: Units of each hidden layer; none make it a logistic regression.
    """

    hidden: tuple[int, ...]
    dropout: float | None = None
