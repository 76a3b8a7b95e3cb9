"""What each network is, declared: one `ModelSpec` a name, every difference from `alexnet` visible as data."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from typing import Literal

from alexnet_fast.errors import UserError

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """The pictures that a network expects: RGB, `(x - mean) / std` with x from 0 to 255.

    Args:
        crop: Side of the square that enters the network, in pixels.
        resize: Shorter side of the stored picture from which that square is cut, in pixels.
        mean: Subtracted, per channel R, G, B.
        std: Divides, per channel R, G, B.
    """

    crop: int
    resize: int
    mean: Triple
    std: Triple


@dataclass(frozen=True, kw_only=True)
class ConvSpec:
    """One convolution.

    Args:
        channels: Kernels.
        kernel: Side of a kernel, in pixels.
        stride: Pixels between two places of the kernel.
        groups: Parts that see only their own part of the channels (the paper's two GPUs).
        bias: Initial bias.
    """

    channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    bias: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LrnSpec:
    """Numbers of the local response normalisation, in the convention of `LocalResponseNorm`.

    The defaults are the paper's (section 3.3): its alpha of 1e-4 multiplies the sum over five channels.
    """

    size: int = 5
    alpha: float = 5e-4
    beta: float = 0.75
    k: float = 2.0


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A network of five convolutions and three fully-connected layers.

    Args:
        name: The name that `create_model` takes.
        input: What it reads.
        convs: `conv1` to `conv5`; max pooling follows 1, 2 and 5.
        hidden: Units of `fc6` and `fc7`.
        hidden_bias: Initial bias of `fc6` and `fc7`.
        hidden_std: Standard deviation of the initial weights of `fc6` and `fc7`.
        lrn: LRN after layers 1 and 2; None for none.
        pool_first: Pools before LRN, as CaffeNet does, instead of after it.
        batch_norm: Batch normalisation after every layer but the last, before its ReLU: there it is affine in
            the layer's own output, so inference can fold it into the weights and run it for nothing.
        dropout: Probability of dropping a unit.
        dropout_before: The fully-connected layers whose input is dropped.
        initial: `gaussian`: N(0, 0.01) and the biases above. `kaiming`: normal, scaled for ReLU, biases 0.
            `torch`: what PyTorch's layers do, which is how torchvision trained its weights.
    """

    name: str
    input: InputSpec
    convs: tuple[ConvSpec, ...]
    hidden: int = 4096
    hidden_bias: float = 1.0
    hidden_std: float = 0.01
    lrn: LrnSpec | None = field(default_factory=LrnSpec)
    pool_first: bool = False
    batch_norm: bool = False
    dropout: float = 0.5
    dropout_before: tuple[str, ...] = ("fc7", "fc8")
    initial: Literal["gaussian", "kaiming", "torch"] = "gaussian"


# Mean RGB of ILSVRC-2012 on the 0..255 scale. The paper subtracts a mean and does not divide: its N(0, 0.01)
# weights are meant for inputs of this size.
PAPER_INPUT = InputSpec(crop=224, resize=256, mean=(127.30, 119.72, 104.91), std=(1.0, 1.0, 1.0))

# torchvision's ImageNet weights: mean (0.485, 0.456, 0.406) and std (0.229, 0.224, 0.225), times 255.
TORCHVISION_INPUT = InputSpec(
    crop=224, resize=256, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
)

# The paper, section 3.5 and figure 2; section 5 for the biases.
PAPER_CONVS = (
    ConvSpec(channels=96, kernel=11, stride=4),
    ConvSpec(channels=256, kernel=5, groups=2, bias=1.0),
    ConvSpec(channels=384, kernel=3),
    ConvSpec(channels=384, kernel=3, groups=2, bias=1.0),
    ConvSpec(channels=256, kernel=3, groups=2, bias=1.0),
)
DENSE_CONVS = tuple(replace(conv, groups=1) for conv in PAPER_CONVS)

# torchvision.models.alexnet, after "One weird trick for parallelizing convolutional neural networks".
OWT_CONVS = (
    ConvSpec(channels=64, kernel=11, stride=4),
    ConvSpec(channels=192, kernel=5),
    ConvSpec(channels=384, kernel=3),
    ConvSpec(channels=256, kernel=3),
    ConvSpec(channels=256, kernel=3),
)

ALEXNET = ModelSpec(name="alexnet", input=PAPER_INPUT, convs=PAPER_CONVS)

LARGE = (
    ALEXNET,
    replace(ALEXNET, name="alexnet-dense", convs=DENSE_CONVS),
    # No groups: batch norm came when a network fitted one GPU, and cuDNN is slow at grouped half-precision
    # convolution (pytorch#10290).
    replace(
        ALEXNET,
        name="alexnet-bn",
        input=TORCHVISION_INPUT,
        convs=DENSE_CONVS,
        lrn=None,
        batch_norm=True,
        initial="kaiming",
    ),
    replace(
        ALEXNET,
        name="alexnet-owt",
        input=TORCHVISION_INPUT,
        convs=OWT_CONVS,
        lrn=None,
        dropout_before=("fc6", "fc7"),
        initial="torch",
    ),
    # BVLC/caffe, models/bvlc_reference_caffenet/train_val.prototxt. Caffe divides its alpha of 1e-4 by the
    # five channels, so this LRN is five times weaker than the paper's (caffe#1453).
    replace(
        ALEXNET,
        name="caffenet",
        input=replace(PAPER_INPUT, crop=227),
        lrn=LrnSpec(alpha=1e-4, k=1.0),
        pool_first=True,
        hidden_std=0.005,
    ),
)


def _for_64_pixels(spec: ModelSpec) -> ModelSpec:
    """The form for 64-pixel pictures: a 5x5 stem of stride 2 leaves 32x32 maps, of which pool5 leaves 3x3."""
    stem = replace(spec.convs[0], kernel=5, stride=2)
    picture = replace(spec.input, crop=64, resize=64)
    return replace(spec, name=f"{spec.name}-64", input=picture, convs=(stem, *spec.convs[1:]))


MODELS = {spec.name: spec for spec in (*LARGE, *map(_for_64_pixels, LARGE))}


def model_names() -> tuple[str, ...]:
    """The names that `create_model` takes."""
    return tuple(MODELS)


def model_spec(name: str) -> ModelSpec:
    """Looks a network up.

    Raises:
        UserError: There is no such network; the message names the nearest and all of them.
    """
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name, MODELS, n=1)
    guess = f"did you mean {near[0]}? " if near else ""
    raise UserError(f"--model {name}: no such model", f"{guess}choose from {', '.join(MODELS)}", exit_code=2)


def resolve_spec(
    name: str,
    *,
    image_size: int | None = None,
    lrn_k: float | None = None,
    lrn_alpha: float | None = None,
    dropout: float | None = None,
) -> ModelSpec:
    """The spec of a name with the overrides of `create_model` in it."""
    spec = model_spec(name)
    if image_size is not None:
        picture = replace(spec.input, crop=image_size, resize=max(spec.input.resize, image_size))
        spec = replace(spec, input=picture)
    if dropout is not None:
        if not 0 <= dropout < 1:
            raise UserError(
                f"dropout is {dropout:g}", "give a probability from 0 up to, not including, 1", exit_code=2
            )
        spec = replace(spec, dropout=dropout)
    return _with_lrn(spec, lrn_k, lrn_alpha)


def _with_lrn(spec: ModelSpec, k: float | None, alpha: float | None) -> ModelSpec:
    if k is None and alpha is None:
        return spec
    if spec.lrn is None:
        raise UserError(f"--model {spec.name} has no LRN", "leave lrn_k and lrn_alpha out", exit_code=2)
    k = spec.lrn.k if k is None else k
    if not k > 0:
        raise UserError(f"lrn_k is {k:g}", "give a number above 0", exit_code=2)
    return replace(spec, lrn=replace(spec.lrn, k=k, alpha=spec.lrn.alpha if alpha is None else alpha))
