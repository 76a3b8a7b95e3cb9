"""Networks on images of other sizes than their own, for progressive resizing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.errors import UserError
from alexnet_fast.models import Network, layer_table


class ResizableHead(nn.Module):
    """Resamples the maps before `flatten` to the size that the next layer expects.

    It averages over windows like the `AdaptiveAvgPool2d` of torchvision's AlexNet, and shares the layers of
    the network. It changes nothing on images of the network's own size.

    Args:
        net: The network.
    """

    def __init__(self, net: Network[Any]) -> None:
        super().__init__()
        names = [name for name, _ in net.named_children()]
        flatten = names.index("flatten")
        self.features, self.head = net[:flatten], net[flatten:]
        self._side = layer_table(net)[flatten - 1].output_shape[1] if flatten else net.input.crop

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the logits, (N, classes), of images (N, 3, S, S)."""
        maps = self.features(images)
        if maps.shape[-1] != self._side:
            maps = functional.adaptive_avg_pool2d(maps, self._side)
        logits: torch.Tensor = self.head(maps)
        return logits


def for_sizes(net: nn.Module, progressive: str | None) -> nn.Module:
    """Returns a module for images of every epoch; a user's own network must take all sizes itself.

    Args:
        net: The network.
        progressive: The option `progressive_resize`; None if all images have one size.

    Raises:
        UserError: The first images are too small for the network.
    """
    if not progressive or not isinstance(net, Network):
        return net
    resizable = ResizableHead(net)
    _check_side(resizable, int(progressive.partition(":")[0]), progressive)
    return resizable


def _check_side(resizable: ResizableHead, side: int, progressive: str) -> None:
    """Checks the network on a black image, without a change of its state.

    Raises:
        UserError: The image is too small.
    """
    training, weight = resizable.training, next(resizable.parameters())
    try:
        with torch.no_grad():
            resizable.eval()(torch.zeros(1, 3, side, side, device=weight.device))
    except RuntimeError as error:
        raise UserError(
            f"--progressive-resize {progressive}: images of {side} pixels are too small for the network",
            "begin with larger ones",
            exit_code=2,
        ) from error
    finally:
        resizable.train(training)
