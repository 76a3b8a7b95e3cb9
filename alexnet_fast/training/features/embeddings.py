"""Embeddings: the output of a layer for each image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.loader import Loader
from alexnet_fast.training.precision import Precision
from alexnet_fast.utils.suggest import choose_from
from alexnet_fast.weights import last_layer


class Embeddings(NamedTuple):
    """Embeddings of a batch of images.

    Args:
        values: float32 (B, D).
        labels: int64 (B,).
        indices: int64 (B,), positions in the image list.
    """

    values: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]


def embeddings(
    net: nn.Module, loader: Loader, precision: Precision, layer: str | None = None
) -> Iterator[Embeddings]:
    """Yields the embeddings of a loader's images, batch by batch, without those of bad images.

    Args:
        net: On the device; it comes back in evaluation mode.
        loader: Loader of the view "eval".
        precision: Device and number type.
        layer: The layer whose flattened output is used; None for the input of the last layer.

    Raises:
        UserError: There is no such layer.
    """
    outputs: list[torch.Tensor] = []
    if layer is None:
        hook = net.get_submodule(last_layer(net)).register_forward_pre_hook(
            lambda _layer, inputs: outputs.append(inputs[0])
        )
    else:
        # A copy: a ReLU overwrites the output of the layer before it.
        hook = _named(net, layer).register_forward_hook(
            lambda _layer, _inputs, output: outputs.append(output.clone())
        )
    net.eval()
    try:
        for batch in loader.epoch(0):
            if not len(batch.labels):
                continue
            outputs.clear()
            with torch.inference_mode(), precision.autocast():
                net(batch.images)
            values: Any = outputs[-1].flatten(1).float().cpu().numpy()
            yield Embeddings(values, batch.labels.cpu().numpy(), batch.indices)
    finally:
        hook.remove()


def _named(net: nn.Module, layer: str) -> nn.Module:
    """Returns a layer by its name.

    Raises:
        UserError: There is no such layer.
    """
    layers = dict(net.named_modules())
    layers.pop("")
    if layer not in layers:
        raise UserError(
            f"--layer {layer}: the network has none of this name", choose_from(layer, layers), exit_code=2
        )
    module: nn.Module = layers[layer]
    return module
