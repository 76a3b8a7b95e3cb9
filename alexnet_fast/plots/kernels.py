"""The kernels of a convolution."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.plots.style import styled, tile_sheet
from alexnet_fast.utils.arrays import Floats
from alexnet_fast.utils.suggest import choose_from

# Colour kernels: all 96 of the paper's first layer fit. Grey kernels: this many kernels by this many
# channels.
_MAX_COLOR = 128
_MAX_GREY = 16
_NOTE = "Each kernel is scaled by its own largest weight; middle grey is a weight of zero."


@styled
def kernels(net: nn.Module, layer: str = "conv1") -> Figure:
    """Draws the kernels of a convolution: in colour if it reads RGB, else one grey tile per channel.

    Args:
        net: The network.
        layer: Name of a convolution in it.

    Raises:
        UserError: The network has no such convolution.
    """
    weights = _weights(net, layer)
    count, channels, height, width = weights.shape
    if channels == 3:
        shown = min(count, _MAX_COLOR)
        columns = min(shown, 16)
        tiles = _stretched(weights[:shown]).transpose(0, 2, 3, 1)
        title = f"{layer}: {_part(shown, count)} kernels of {height}x{width} pixels, RGB"
    else:
        shown, columns = min(count, _MAX_GREY), min(channels, _MAX_GREY)
        tiles = _stretched(weights[:shown, :columns]).reshape(-1, height, width, 1).repeat(3, axis=3)
        title = (
            f"{layer}: {_part(shown, count)} kernels of {height}x{width} (rows),"
            f" {_part(columns, channels)} input channels (columns)"
        )
    return tile_sheet(tiles, columns, title, _NOTE)


def convolutions(net: nn.Module) -> dict[str, nn.Conv2d]:
    """Returns the convolutions of a network by name, in its order."""
    return {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}


def _weights(net: nn.Module, layer: str) -> Floats:
    """Returns the weights of a convolution, float32 (kernels, channels, H, W).

    Raises:
        UserError: There is no convolution of that name; the message lists all of them.
    """
    modules = convolutions(net)
    if layer not in modules:
        raise UserError(
            f"--layer {layer} is no convolution of this network", choose_from(layer, modules), exit_code=2
        )
    weights: Floats = modules[layer].weight.detach().to("cpu", torch.float32).numpy()
    return weights


def _stretched(weights: Floats) -> Floats:
    """Scales each kernel to 0..1 by its own largest weight; a weight of zero becomes 0.5."""
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    stretched: Floats = np.float32(0.5) + weights / np.maximum(2 * largest, np.finfo(np.float32).tiny)
    return stretched


def _part(shown: int, total: int) -> str:
    """Returns "all 96", or "16 of 384"."""
    return f"all {total}" if shown == total else f"{shown} of {total}"
