"""Finds the layer that an error came from, and words a network's own errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


def described(name: str, module: object) -> str:
    """Returns a layer with its place and class, such as "layer features.3 (Conv2d)".

    A class that has the name of one of torch's, but is not that, comes with its module.
    """
    from torch import nn

    kind = type(module).__qualname__.rpartition(".")[2]
    if getattr(nn, kind, type(module)) is not type(module):
        kind = f"{type(module).__module__}.{kind}"
    return f"layer {name} ({kind})" if name else f"the network ({kind})"


def failing_layer(error: BaseException, net: torch.nn.Module, otherwise: str = "") -> str:
    """Returns the innermost layer that was running when an error arose, as `described` does.

    The frames of the traceback name it, so the network needs no hooks.

    Args:
        error: The error.
        net: The network.
        otherwise: Returned if no layer inside of it was running.
    """
    names = {id(module): name for name, module in net.named_modules()}
    running = [
        (names[id(owner)], owner)
        for frame in frames_of(error)
        for owner in [frame.get("self")]
        if id(owner) in names
    ]
    if otherwise and not (running and running[-1][0]):
        return otherwise
    return described(*running[-1]) if running else described("", net)


def run_network(net: torch.nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """Runs crops through a network.

    Args:
        net: In evaluation mode.
        crops: float32 (N, 3, crop, crop).

    Returns:
        Logits (N, classes).

    Raises:
        UserError: The network fails (the layer is named), or does not return one row per crop.
    """
    import torch

    try:
        logits = net(crops)
    except Exception as error:
        size = "x".join(map(str, crops.shape[1:]))
        raise UserError(
            f"{failing_layer(error, net)} fails on crops of {size}"
            f" ({type(error).__name__}: {first_line(error)})",
            "run it in PyTorch on such crops first; the crop size has to be that of its training",
        ) from error
    if not isinstance(logits, torch.Tensor):
        raise UserError(
            f"{described('', net)} answers with a {type(logits).__name__}, not with logits",
            "wrap it so that it returns one tensor (N, classes)",
        )
    if logits.dim() != 2 or len(logits) != len(crops) or not logits.is_floating_point():
        shape = ", ".join(map(str, logits.shape))
        raise UserError(
            f"{described('', net)} turns {len(crops)} crops into {logits.dtype} ({shape})",
            "it must return one row of logits per crop",
        )
    return logits


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")


def frames_of(error: BaseException) -> Iterator[dict[str, Any]]:
    """Yields the variables of an error's frames, outermost first, then those of its causes."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        trace = current.__traceback__
        while trace is not None:
            yield trace.tb_frame.f_locals
            trace = trace.tb_next
        current = current.__cause__ or current.__context__
