"""The registry: the spec of each network by name."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from alexnet_fast.errors import UserError
from alexnet_fast.models.spec import (
    CAFFE_INPUT,
    PAPER_INPUT,
    TORCHVISION_INPUT,
    ConvNetSpec,
    ConvSpec,
    Initial,
    LrnSpec,
    MlpSpec,
    ModelSpec,
    NetSpec,
    VggSpec,
)
from alexnet_fast.utils.suggest import choose_from

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

# Caffe divides its alpha of 1e-4 by the five channels, so this LRN is five times weaker than the paper's
# (caffe#1453).
CAFFE_LRN = LrnSpec(alpha=1e-4, k=1.0)

ALEXNET = ModelSpec(name="alexnet", input=PAPER_INPUT, convs=PAPER_CONVS)

# No groups: batch norm came when a network fitted one GPU, and cuDNN is slow at grouped half-precision
# convolution (pytorch#10290).
ALEXNET_BN = replace(
    ALEXNET,
    name="alexnet-bn",
    input=TORCHVISION_INPUT,
    convs=DENSE_CONVS,
    lrn=None,
    batch_norm="before",
    initial="kaiming",
)

LARGE = (
    ALEXNET,
    replace(ALEXNET, name="alexnet-dense", convs=DENSE_CONVS),
    ALEXNET_BN,
    replace(
        ALEXNET,
        name="alexnet-owt",
        input=TORCHVISION_INPUT,
        convs=OWT_CONVS,
        lrn=None,
        dropout_before=("fc6", "fc7"),
        initial="torch",
    ),
    # BVLC/caffe, models/bvlc_reference_caffenet/train_val.prototxt.
    replace(
        ALEXNET,
        name="caffenet",
        input=replace(PAPER_INPUT, crop=227),
        lrn=CAFFE_LRN,
        pool_first=True,
        hidden_std=0.005,
    ),
)

# Further networks of the systems that alexnet-fast replaces.
OTHERS = (
    # BVLC/caffe, models/bvlc_alexnet/train_val.prototxt: the net of bvlc_alexnet.caffemodel and
    # bvlc_alexnet.npy. Biases that are 1 in the paper begin with 0.1, and fc6 and fc7 with N(0, 0.005).
    replace(
        ALEXNET,
        name="alexnet-caffe",
        input=CAFFE_INPUT,
        convs=tuple(replace(conv, bias=conv.bias / 10) for conv in PAPER_CONVS),
        lrn=CAFFE_LRN,
        hidden_std=0.005,
        hidden_bias=0.1,
    ),
    # A TensorFlow AlexNet with "SAME" padding: maps of 56, 28, 14 and 7 pixels, one tower, the LRN that
    # tf.nn.local_response_normalization has by itself (radius 5, so 11 channels; bias 1, alpha 1 on their
    # sum, beta 0.5) and biases 0.
    replace(
        ALEXNET,
        name="alexnet-same",
        convs=tuple(replace(conv, bias=0.0) for conv in DENSE_CONVS),
        same_padding=True,
        hidden_bias=0.0,
        lrn=LrnSpec(size=11, alpha=11.0, beta=0.5, k=1.0),
        initial="truncated",
    ),
    # An AlexNet-BN for Caltech256, layer by layer: 227 pixels with 4 around them (maps of 57, 28, 13 and 6),
    # batch norm after ReLU, dropout after every pool too, Xavier's normal weights. It ended in a log-softmax,
    # which is part of the cross-entropy here.
    replace(
        ALEXNET_BN,
        name="alexnet-bn-caltech",
        input=replace(TORCHVISION_INPUT, crop=227),
        convs=(replace(DENSE_CONVS[0], padding=4), *DENSE_CONVS[1:]),
        batch_norm="after",
        pool_dropout=True,
        initial="xavier",
    ),
)

# Simonyan and Zisserman, arXiv 1409.1556, table 1, column D. Weights of the paper's kind do not train at this
# depth (its section 3.1 begins with those of a shallower net), Kaiming's do.
VGG16 = VggSpec(
    name="vgg16",
    input=TORCHVISION_INPUT,
    blocks=((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    initial="kaiming",
)

# Images of 64 pixels, as in Tiny ImageNet.
SMALL_INPUT = replace(TORCHVISION_INPUT, crop=64, resize=64)

BASELINES = (
    VGG16,
    # For Tiny ImageNet: less the last three convolutions and the last pool.
    replace(VGG16, name="vgg16-64", input=SMALL_INPUT, blocks=VGG16.blocks[:-1]),
    MlpSpec(name="mlp", input=SMALL_INPUT, hidden=(1024,), initial="kaiming"),
    MlpSpec(name="linear", input=SMALL_INPUT, hidden=()),
)


# Small enough for a few thousand images and two cores; the last maps of each have 4 to 6 pixels per side.
SMALL_CONVNETS = (
    ConvNetSpec(
        name="convnet-32",
        input=replace(SMALL_INPUT, crop=32, resize=32),
        dropout=0.2,
        initial="kaiming",
        blocks=(32, 64, 128, 256),
    ),
    ConvNetSpec(
        name="convnet-64", input=SMALL_INPUT, dropout=0.2, initial="kaiming", blocks=(32, 64, 128, 192, 224)
    ),
    ConvNetSpec(
        name="convnet-96",
        input=replace(SMALL_INPUT, crop=96, resize=96),
        dropout=0.2,
        initial="kaiming",
        blocks=(32, 64, 128, 192, 224),
    ),
)


def _for_64_pixels(spec: ModelSpec) -> ModelSpec:
    """The form for 64-pixel images: a 5x5 stem of stride 2 leaves 32x32 maps, of which pool5 leaves 3x3."""
    stem = replace(spec.convs[0], kernel=5, stride=2)
    image = replace(spec.input, crop=64, resize=64)
    return replace(spec, name=f"{spec.name}-64", input=image, convs=(stem, *spec.convs[1:]))


def _for_227_pixels(spec: ModelSpec) -> ModelSpec:
    """The form that reads 227 pixels, which conv1's kernel fits without padding."""
    return replace(spec, name=f"{spec.name}-227", input=replace(spec.input, crop=227))


MODELS: dict[str, NetSpec] = {
    spec.name: spec
    for spec in (
        *LARGE,
        *map(_for_64_pixels, LARGE),
        *(_for_227_pixels(spec) for spec in LARGE if spec.input.crop != 227),
        *OTHERS,
        *BASELINES,
        *SMALL_CONVNETS,
    )
}


def model_names() -> tuple[str, ...]:
    """Returns the names that `create_model` takes."""
    return tuple(MODELS)


def model_spec(name: str) -> NetSpec:
    """Returns the spec of a network.

    Raises:
        UserError: There is no such network; the message names the nearest and all networks.
    """
    if name in MODELS:
        return MODELS[name]
    raise UserError(f"--model {name}: no such model", choose_from(name, MODELS), exit_code=2)


def resolve_spec(
    name: str,
    *,
    image_size: int | None = None,
    lrn_k: float | None = None,
    lrn_alpha: float | None = None,
    dropout: float | None = None,
    init: Initial | None = None,
) -> NetSpec:
    """Returns the spec of a network with the overrides of `create_model`.

    Raises:
        UserError: There is no such network, it lacks an overridden option, or a value is out of range.
    """
    spec = model_spec(name)
    if image_size is not None:
        image = replace(spec.input, crop=image_size, resize=max(spec.input.resize, image_size))
        spec = replace(spec, input=image)
    if dropout is not None:
        spec = _with_dropout(spec, dropout)
    if init is not None:
        spec = _with_initial(spec, init)
    return _with_lrn(spec, lrn_k, lrn_alpha)


def _with_dropout(spec: NetSpec, dropout: float) -> NetSpec:
    if not 0 <= dropout < 1:
        raise UserError(
            f"dropout is {dropout:g}", "give a probability from 0 up to, not including, 1", exit_code=2
        )
    if spec.dropout is None:
        raise UserError(f"--model {spec.name} has no dropout", "leave --dropout out", exit_code=2)
    return replace(spec, dropout=dropout)


def _with_initial(spec: NetSpec, initial: Initial) -> NetSpec:
    if initial not in get_args(Initial):
        raise UserError(
            f"--init {initial}: no such initialisation",
            f"choose from {', '.join(get_args(Initial))}",
            exit_code=2,
        )
    return replace(spec, initial=initial)


def _with_lrn(spec: NetSpec, k: float | None, alpha: float | None) -> NetSpec:
    if k is None and alpha is None:
        return spec
    if not isinstance(spec, ModelSpec) or spec.lrn is None:
        raise UserError(f"--model {spec.name} has no LRN", "leave lrn_k and lrn_alpha out", exit_code=2)
    k = spec.lrn.k if k is None else k
    if not k > 0:
        raise UserError(f"lrn_k is {k:g}", "give a number above 0", exit_code=2)
    return replace(spec, lrn=replace(spec.lrn, k=k, alpha=spec.lrn.alpha if alpha is None else alpha))
