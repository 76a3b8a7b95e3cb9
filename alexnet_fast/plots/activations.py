"""Activations of a layer for one image."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.plots.style import styled, tile_sheet
from alexnet_fast.utils.arrays import Floats
from alexnet_fast.utils.suggest import choose_from

# All maps of the paper's first layer fit.
_MAX_MAPS = 96
_COLUMNS = 12
_NOTE = "Each map is scaled by its own largest value; black is zero or less."


@styled
def activations(net: nn.Module, view_chw: torch.Tensor, layer: str) -> Figure:
    """Draws the maps of a layer, one grey tile per channel.

    Args:
        net: In evaluation mode, on the CPU.
        view_chw: Normalised image, float32 (3, H, W).
        layer: Name of a layer with a spatial output.

    Raises:
        UserError: The network has no such layer, or its output is not spatial.
    """
    maps_chw = layer_output(net, view_chw, layer)
    count, height, width = maps_chw.shape
    shown = min(count, _MAX_MAPS)
    title = f"{layer}: {f'all {count}' if shown == count else f'{shown} of {count}'} maps of {height}x{width}"
    tiles = _scaled(maps_chw[:shown])[..., None].repeat(3, axis=3)
    return tile_sheet(tiles, min(shown, _COLUMNS), title, _NOTE)


def layer_output(net: nn.Module, view_chw: torch.Tensor, layer: str) -> Floats:
    """Runs one image and returns the output of a layer.

    Returns:
        float32 (C, H, W).

    Raises:
        UserError: The network has no such layer, or its output is not spatial.
    """
    modules = dict(net.named_children())
    if layer not in modules:
        raise UserError(
            f"--layer {layer} is no layer of this network", choose_from(layer, modules), exit_code=2
        )
    outputs: list[torch.Tensor] = []
    # A copy: the ReLU after it works in place.
    hook = modules[layer].register_forward_hook(
        lambda _module, _inputs, output: outputs.append(output.clone())
    )
    try:
        with torch.inference_mode():
            net(view_chw[None])
    finally:
        hook.remove()
    if outputs[0].dim() != 4:
        raise UserError(
            f"--layer {layer} has no spatial output", "choose a layer before flatten", exit_code=2
        )
    output: Floats = outputs[0][0].float().numpy()
    return output


def _scaled(maps_chw: Floats) -> Floats:
    """Scales each map to 0..1 by its own largest value; a map without a value above zero stays black."""
    largest = maps_chw.max(axis=(1, 2), keepdims=True)
    scaled: Floats = np.maximum(maps_chw, 0) / np.maximum(largest, np.finfo(np.float32).tiny)
    return scaled
