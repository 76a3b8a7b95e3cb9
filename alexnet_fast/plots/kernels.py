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

# Colour kernels: all 96 of the paper's first layer fit. Grey ones: as many kernels by as many input channels.
_MOST_COLOR = 128
_MOST_GREY = 16
_NOTE = "Each kernel is scaled by its own largest weight; middle grey is a weight of zero."


@styled
def kernels(net: nn.Module, layer: str = "conv1") -> Figure:
    """Draws the kernels of a convolution: in colour where it reads RGB, else a grey tile for each channel.

    Args:
        net: The network.
        layer: Name of a convolution in it.

    Raises:
        UserError: The net has no such convolution.
    """
    weights = _weights(net, layer)
    count, channels, height, width = weights.shape
    if channels == 3:
        shown = min(count, _MOST_COLOR)
        columns = min(shown, 16)
        tiles = _stretched(weights[:shown]).transpose(0, 2, 3, 1)
        what = f"{layer}: {_part(shown, count)} kernels of {height}x{width} pixels, RGB"
    else:
        shown, columns = min(count, _MOST_GREY), min(channels, _MOST_GREY)
        tiles = _stretched(weights[:shown, :columns]).reshape(-1, height, width, 1).repeat(3, axis=3)
        what = (
            f"{layer}: {_part(shown, count)} kernels of {height}x{width} (rows),"
            f" {_part(columns, channels)} input channels (columns)"
        )
    return tile_sheet(tiles, columns, what, _NOTE)


def convolutions(net: nn.Module) -> dict[str, nn.Conv2d]:
    """Returns the convolutions of a network by name, in its order."""
    return {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}


def _weights(net: nn.Module, layer: str) -> Floats:
    """Returns the weights of a convolution, float32 (kernels, channels, H, W).

    Raises:
        UserError: There is none of that name; the message lists those there are.
    """
    found = convolutions(net)
    if layer not in found:
        raise UserError(
            f"--layer {layer} is no convolution of this net", choose_from(layer, found), exit_code=2
        )
    weights: Floats = found[layer].weight.detach().to("cpu", torch.float32).numpy()
    return weights


def _stretched(weights: Floats) -> Floats:
    """Scales each kernel to 0..1 by its own largest weight; 0.5 stays the place of a weight of zero."""
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    stretched: Floats = np.float32(0.5) + weights / np.maximum(2 * largest, np.finfo(np.float32).tiny)
    return stretched


def _part(shown: int, there: int) -> str:
    """Returns "all 96", or "16 of 384"."""
    return f"all {there}" if shown == there else f"{shown} of {there}"
