"""Which layer of a network an error came from, and the network's own errors as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    import torch


def described(name: str, module: object) -> str:
    """Returns a layer with its place and class, such as "layer features.3 (Conv2d)"."""
    kind = type(module).__name__
    return f"layer {name} ({kind})" if name else f"the network ({kind})"


def failing_layer(error: BaseException, net: torch.nn.Module) -> str:
    """Returns the innermost layer that was running when an error arose, as `described` does.

    Read off the frames of the traceback: nothing has to be hung on the network for it.
    """
    names = {id(module): name for name, module in net.named_modules()}
    found = [
        (names[id(owner)], owner)
        for trace in _traces(error)
        for owner in [trace.tb_frame.f_locals.get("self")]
        if id(owner) in names
    ]
    return described(*found[-1]) if found else described("", net)


def run_network(net: torch.nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """Runs crops through a network.

    Args:
        net: In evaluation mode.
        crops: float32 (N, 3, crop, crop).

    Returns:
        Logits (N, classes).

    Raises:
        UserError: The network fails (the layer is named), or gives something else than a row a crop.
    """
    import torch

    try:
        logits = net(crops)
    except Exception as error:
        size = "x".join(map(str, crops.shape[1:]))
        raise UserError(
            f"{failing_layer(error, net)} fails on crops of {size}"
            f" ({type(error).__name__}: {first_line(error)})",
            "export with the crop size that the network was trained with",
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
            "it must return one row of logits a crop",
        )
    return logits


def first_line(error: BaseException) -> str:
    """Returns the first line of what an error says."""
    return (str(error).strip().splitlines() or [""])[0].rstrip(".")


def _traces(error: BaseException) -> Iterator[TracebackType]:
    """Yields the frames of an error, outermost first; those of what caused it behind its own."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        trace = current.__traceback__
        while trace is not None:
            yield trace
            trace = trace.tb_next
        current = current.__cause__ or current.__context__
