"""Initial values, drawn from PyTorch's global generator.

paper       N(0, 0.01), and the biases that the network's spec names (Krizhevsky et al. 2012, section 5).
kaiming     Normal, scaled for ReLU (He et al., arXiv 1502.01852), the last layer N(0, 0.01); biases 0.
xavier      Normal, scaled by inputs and outputs (Glorot and Bengio 2010); biases 0.
truncated   Normal with deviation 1 / sqrt(n), drawn again beyond two deviations; biases 0. n is what the
            TensorFlow AlexNet of `alexnet-same` has for it: the pixels of an image for the first
            convolution, the input channels for the others, the inputs for a fully-connected layer.
torch       What PyTorch's layers do by themselves, which is how torchvision trained its AlexNet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

if TYPE_CHECKING:
    from alexnet_fast.models.network import Network

# The paper, section 5; also of the last layer of the networks that start from Kaiming's values, so that their
# first outputs are near 0 and the first loss is near log(num_classes).
PAPER_STD = 0.01


def initialise(net: Network[Any]) -> None:
    """Gives convolutions and fully-connected layers their first values, as `net.spec.initial` says."""
    draw = {"paper": _paper, "kaiming": _kaiming, "xavier": _xavier, "truncated": _truncated}
    if net.spec.initial != "torch":
        draw[net.spec.initial](net)


def _weighted(net: Network[Any]) -> Iterator[tuple[str, nn.Conv2d | nn.Linear]]:
    for name, layer in net.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            yield name, layer


def _zero_bias(layer: nn.Conv2d | nn.Linear) -> None:
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def _paper(net: Network[Any]) -> None:
    """Small normal weights, and biases that put the ReLUs behind them to work from the start."""
    biases, deviations = net.spec.first_biases(), net.spec.first_deviations()
    for name, layer in _weighted(net):
        nn.init.normal_(layer.weight, std=deviations.get(name, PAPER_STD))
        assert layer.bias is not None
        nn.init.constant_(layer.bias, biases.get(name, 0.0))


def _kaiming(net: Network[Any]) -> None:
    """`fan_out` keeps the size of the gradients of a convolution."""
    for name, layer in _weighted(net):
        mode: Literal["fan_out", "fan_in"] = "fan_out" if isinstance(layer, nn.Conv2d) else "fan_in"
        nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        _zero_bias(layer)
        if name == net.last:
            nn.init.normal_(layer.weight, std=PAPER_STD)


def _xavier(net: Network[Any]) -> None:
    for _, layer in _weighted(net):
        nn.init.xavier_normal_(layer.weight)
        _zero_bias(layer)


def _truncated(net: Network[Any]) -> None:
    for index, (_, layer) in enumerate(_weighted(net)):
        if isinstance(layer, nn.Linear):
            number = layer.in_features
        else:
            number = layer.in_channels if index else net.input.crop**2
        std = 1 / math.sqrt(number)
        nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        _zero_bias(layer)
