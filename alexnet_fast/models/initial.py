"""Initial values, drawn from PyTorch's global generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

if TYPE_CHECKING:
    from alexnet_fast.models.alexnet import AlexNet

# The paper, section 5; also of the last layer of the networks that start from Kaiming's values, so that their
# first outputs are near 0 and the first loss is near log(num_classes).
PAPER_STD = 0.01


def initialise(net: AlexNet) -> None:
    """Gives convolutions and fully-connected layers their first values, as `net.spec.initial` says."""
    if net.spec.initial == "gaussian":
        _gaussian(net)
    elif net.spec.initial == "kaiming":
        _kaiming(net)


def _gaussian(net: AlexNet) -> None:
    """The paper's: small normal weights, and biases that put the ReLUs behind them to work from the start."""
    spec = net.spec
    biases = {f"conv{i}": conv.bias for i, conv in enumerate(spec.convs, start=1)}
    biases |= {"fc6": spec.hidden_bias, "fc7": spec.hidden_bias, "fc8": 0.0}
    for name, layer in net.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=spec.hidden_std if name in ("fc6", "fc7") else PAPER_STD)
            nn.init.constant_(layer.bias, biases[name])  # type: ignore[arg-type]


def _kaiming(net: AlexNet) -> None:
    """He et al., arXiv 1502.01852; `fan_out` keeps the size of the gradients of a convolution."""
    for layer in net.children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            mode: Literal["fan_out", "fan_in"] = "fan_out" if isinstance(layer, nn.Conv2d) else "fan_in"
            nn.init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    assert isinstance(net.fc8, nn.Linear)
    nn.init.normal_(net.fc8.weight, std=PAPER_STD)
