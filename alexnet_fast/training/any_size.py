"""A network of ours on pictures of another size than its own, as progressive resizing gives them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.models import AlexNet, layer_table


class AnySize(nn.Module):
    """Resamples the maps before `flatten` to the side that `fc6` was built for; shares the network's layers.

    Averaging over windows as torchvision's AlexNet has it there (`AdaptiveAvgPool2d`). On pictures of the
    network's own size nothing is added.

    Args:
        net: The network.
    """

    def __init__(self, net: AlexNet) -> None:
        super().__init__()
        names = [name for name, _ in net.named_children()]
        flatten = names.index("flatten")
        self.features, self.head = net[:flatten], net[flatten:]
        self._side = layer_table(net)[flatten - 1].output_shape[1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the logits, (N, classes), of pictures (N, 3, S, S)."""
        maps = self.features(images)
        if maps.shape[-1] != self._side:
            maps = functional.adaptive_avg_pool2d(maps, self._side)
        logits: torch.Tensor = self.head(maps)
        return logits


def for_sizes(net: nn.Module, progressive: str | None) -> nn.Module:
    """Returns what takes the pictures of every epoch; a network of the user's must do so by itself.

    Args:
        net: The network.
        progressive: The option; None where all pictures have one size.
    """
    return AnySize(net) if progressive and isinstance(net, AlexNet) else net
