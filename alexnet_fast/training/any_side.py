"""Lets a network take pictures of other sides than its own while it is trained (progressive resizing)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.errors import UserError


def take_any_side(net: nn.Module, *, own: int, smallest: int) -> None:
    """Averages the maps before `flatten` to the number that the network's own pictures give.

    That is torchvision's adaptive pooling before the classifier. At the network's own side it changes
    nothing, so what is validated, exported and served is the network as it was.

    Args:
        net: A network with a layer called `flatten`.
        own: Side of its own pictures in pixels.
        smallest: Smallest side that it will be trained on.

    Raises:
        UserError: It has no such layer, or its layers leave nothing of the smallest pictures.
    """
    flatten = net.get_submodule("flatten") if "flatten" in dict(net.named_children()) else None
    if flatten is None:
        raise UserError(
            "--progressive needs a network whose maps can be averaged before 'flatten'",
            "take another --model, or leave --progressive out",
            exit_code=2,
        )
    sides: list[tuple[int, int]] = []
    noted = flatten.register_forward_pre_hook(lambda _, inputs: sides.append(tuple(inputs[0].shape[2:])))
    _look(net, own)
    noted.remove()

    def pool(_: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor | None:
        maps = inputs[0]
        return None if tuple(maps.shape[2:]) == sides[0] else functional.adaptive_avg_pool2d(maps, sides[0])

    flatten.register_forward_pre_hook(pool)
    try:
        _look(net, smallest)
    except RuntimeError as error:
        raise UserError(
            f"--progressive: pictures of {smallest} pixels are too small for the network",
            f"begin with more; {own} is its own side",
            exit_code=2,
        ) from error


def _look(net: nn.Module, side: int) -> None:
    """Shows a network a black picture, and leaves its state as it was."""
    training = net.training
    device = next(net.parameters()).device
    net.eval()
    with torch.no_grad():
        net(torch.zeros(1, 3, side, side, device=device))
    net.train(training)
