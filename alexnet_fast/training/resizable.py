"""A network of ours on images of another size than its own, as progressive resizing gives them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.errors import UserError
from alexnet_fast.models import Network, layer_table


class ResizableHead(nn.Module):
    """Resamples the maps before `flatten` to the side that the layer behind it was built for.

    The layers are the network's own. Averaging over windows as torchvision's AlexNet has it there
    (`AdaptiveAvgPool2d`). On images of the network's own size nothing is added.

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
    """Returns what takes the images of every epoch; a network of the user's must do so by itself.

    Args:
        net: The network.
        progressive: The option; None where all images have one size.

    Raises:
        UserError: The first images are too small for the network.
    """
    if not progressive or not isinstance(net, Network):
        return net
    grown = ResizableHead(net)
    _try_side(grown, int(progressive.partition(":")[0]), progressive)
    return grown


def _try_side(grown: ResizableHead, side: int, progressive: str) -> None:
    """Shows a network a black image, without leaving a trace in it."""
    training, weight = grown.training, next(grown.parameters())
    try:
        with torch.no_grad():
            grown.eval()(torch.zeros(1, 3, side, side, device=weight.device))
    except RuntimeError as error:
        raise UserError(
            f"--progressive-resize {progressive}: images of {side} pixels are too small for the network",
            "begin with larger ones",
            exit_code=2,
        ) from error
    finally:
        grown.train(training)
