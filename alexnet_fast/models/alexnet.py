"""Networks of five convolutions and three fully-connected layers, with Caffe's layer names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from alexnet_fast.models.lrn import LocalResponseNorm
from alexnet_fast.models.network import Network, Shape, output_shape
from alexnet_fast.models.spec import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The convolutions that overlapping 3x3 pooling of stride 2 follows (the paper, section 3.4).
POOLED = (1, 2, 5)

# Where torchvision.models.alexnet keeps the layers that have weights.
TORCHVISION_NAMES = {
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3",
    "features.8": "conv4",
    "features.10": "conv5",
    "classifier.1": "fc6",
    "classifier.4": "fc7",
    "classifier.6": "fc8",
}


class AlexNet(Network[ModelSpec]):
    """The paper's network and its relatives; see `Network` and `ModelSpec`."""

    @staticmethod
    def features(spec: ModelSpec, side: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields conv1 to pool5."""
        shape: Shape = (3, side, side)
        for number in range(1, len(spec.convs) + 1):
            for part in (_convolution, _norm_and_pool):
                for name, layer in part(spec, number, shape):
                    shape = output_shape(layer, shape)
                    yield name, layer

    @staticmethod
    def head(spec: ModelSpec, inputs: int, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields fc6 to fc8."""
        for number, width in ((6, spec.hidden), (7, spec.hidden), (8, num_classes)):
            if f"fc{number}" in spec.dropout_before:
                yield f"drop{number - 1}", nn.Dropout(spec.dropout or 0.0)
            yield f"fc{number}", nn.Linear(inputs, width)
            inputs = width
            if number < 8:
                yield from _activation(spec, number, nn.BatchNorm1d(width) if spec.batch_norm else None)

    @staticmethod
    def torchvision_names(spec: ModelSpec) -> Mapping[str, str]:
        """See `Network`."""
        return TORCHVISION_NAMES if spec.name.startswith("alexnet-owt") else {}


def stem_padding(image_size: int, kernel: int, stride: int) -> int:
    """Returns the padding of conv1: 0 if its kernel fits the image without a remainder, else 2.

    The paper's 55x55 maps come from 227 pixels exactly (Caffe), or from 224 with 2 pixels around them
    (torchvision). Two pixels are also half of the small networks' 5x5 kernel, which gives 32x32 maps at 64
    pixels and 28x28 at 56.
    """
    return 0 if (image_size - kernel) % stride == 0 else 2


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Returns the zeros before and after a side in TensorFlow's "SAME" padding."""
    total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    return total // 2, total - total // 2


def _convolution(spec: ModelSpec, number: int, shape: Shape) -> Iterator[tuple[str, nn.Module]]:
    """Yields a convolution, its batch norm and its ReLU."""
    conv = spec.convs[number - 1]
    padding = conv.kernel // 2 if conv.padding is None else conv.padding
    if number == 1 and spec.same_padding:
        before, after = same_padding(shape[1], conv.kernel, conv.stride)
        yield "pad1", nn.ZeroPad2d((before, after, before, after))
        padding = 0
    elif number == 1 and conv.padding is None:
        padding = stem_padding(shape[1], conv.kernel, conv.stride)
    yield (
        f"conv{number}",
        nn.Conv2d(shape[0], conv.channels, conv.kernel, conv.stride, padding, groups=conv.groups),
    )
    yield from _activation(spec, number, nn.BatchNorm2d(conv.channels) if spec.batch_norm else None)


def _activation(spec: ModelSpec, number: int, norm: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """Yields the ReLU, and the batch norm before or after it."""
    if norm is not None and spec.batch_norm == "before":
        yield f"bn{number}", norm
    yield f"relu{number}", nn.ReLU(inplace=True)
    if norm is not None and spec.batch_norm == "after":
        yield f"bn{number}", norm


def _norm_and_pool(spec: ModelSpec, number: int, shape: Shape) -> Iterator[tuple[str, nn.Module]]:
    """Yields LRN, pool and dropout after the activation of a convolution."""
    layers: list[tuple[str, nn.Module]] = []
    if spec.lrn is not None and number in (1, 2):
        lrn = spec.lrn
        layers.append((f"norm{number}", LocalResponseNorm(lrn.size, lrn.alpha, lrn.beta, lrn.k)))
    if number in POOLED:
        layers.append((f"pool{number}", _pool(shape[1]) if spec.same_padding else nn.MaxPool2d(3, 2)))
    yield from layers[::-1] if spec.pool_first else layers
    if number in POOLED and spec.pool_dropout:
        yield f"drop{number}", nn.Dropout(spec.dropout or 0.0)


def _pool(side: int) -> nn.MaxPool2d:
    """Returns a pool with "SAME" padding: at the end of an even side, on both ends of an odd one."""
    return nn.MaxPool2d(3, 2, padding=side % 2, ceil_mode=side % 2 == 0)
