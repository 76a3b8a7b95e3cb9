"""Checks that a module computes exactly what its class and settings define.

A hook, a replaced method, a parametrisation or an attribute of another type may change what a module answers
without changing its name. This is a positive list: what is not known to be untouched is not known.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# The tensors of a module of ours or of torch's; anything else (weight_g, weight_orig, a packed weight) is
# unknown.
_PARAMETERS = frozenset({"weight", "bias"})
_BUFFERS = frozenset({"running_mean", "running_var", "num_batches_tracked"})
# A subclass of nn.Sequential may define these without changing how its layers run. `input` is the InputSpec
# of a user's network (models.custom).
_HARMLESS = frozenset(
    {
        "__init__",
        "__doc__",
        "__module__",
        "__qualname__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__firstlineno__",
        "__static_attributes__",
        "__parameters__",
        "__orig_bases__",
        "input",
    }
)


def why_inexact(module: torch.nn.Module) -> str | None:
    """Returns why a single layer may not compute what its class and settings define.

    Args:
        module: A module of a known class.

    Returns:
        The reason, as the rest of a sentence that begins with the layer's name; None if there is none.
    """
    return _touched(module) or _strange_tensors(module) or _patched(type(module))


def why_no_sequence(net: torch.nn.Module) -> str | None:
    """Returns why a network may do more than run its children one after the other.

    Returns:
        The reason, as the rest of a sentence that begins with the network's name; None if there is none.
    """
    from torch import nn
    from torch.nn.modules import module as globals_of_torch

    if globals_of_torch._global_forward_hooks or globals_of_torch._global_forward_pre_hooks:
        return "runs under a forward hook of all modules"
    kind = type(net)
    if not _runs_in_order(kind):  # type: ignore[arg-type]  # types are hashable
        return "is not a plain torch.nn.Sequential of its layers"
    if net._parameters or net._buffers:
        return "has weights of its own"
    return _touched(net) or _patched(nn.Sequential)


def _touched(module: torch.nn.Module) -> str | None:
    """Looks for hooks and replaced methods of one instance."""
    if module._forward_hooks or module._forward_pre_hooks:
        return "has a forward hook"
    for name in vars(module):
        if callable(getattr(type(module), name, None)):
            return f"has a {name} of its own"
    return None


def _strange_tensors(module: torch.nn.Module) -> str | None:
    """Looks at the tensors and children of one layer."""
    import torch
    from torch import nn

    if module._modules:
        return "has layers inside"
    if not (module._parameters.keys() <= _PARAMETERS and module._buffers.keys() <= _BUFFERS):
        return "computes its weights"
    held = [*module._parameters.values(), *(module._buffers[name] for name in module._buffers)]
    for tensor in held:
        if tensor is None:
            continue
        if type(tensor) not in (nn.Parameter, torch.Tensor) or tensor.layout is not torch.strided:
            return f"has weights of the type {type(tensor).__name__}"
    if len({tensor.dtype for tensor in held if tensor is not None and tensor.is_floating_point()}) > 1:
        return "has weights of several types"
    if any(tensor is not None and tensor.is_complex() for tensor in held):
        return "has complex weights"
    return None


def _patched(kind: type[Any]) -> str | None:
    """Detects a class with a replaced forward: the replacement comes from another module."""
    from torch import nn

    defined = next(base for base in kind.__mro__ if "forward" in vars(base))
    at_home = getattr(kind.forward, "__module__", None) == defined.__module__
    if at_home and kind.__call__ is nn.Module.__call__:
        return None
    return "is of a class whose forward was replaced"


@functools.lru_cache(maxsize=256)
def _runs_in_order(kind: type[Any]) -> bool:
    """Returns whether a class runs its children as nn.Sequential does."""
    from torch import nn

    from alexnet_fast.models.network import Network

    if Network in kind.__mro__ and kind.__module__.startswith("alexnet_fast.models."):
        # Our own families; a user's subclass of one is in another module, and is checked below.
        return True
    if nn.Sequential not in kind.__mro__ or type(kind) is not type:
        return False
    between = kind.__mro__[: kind.__mro__.index(nn.Sequential)]
    return all(vars(base).keys() <= _HARMLESS for base in between)
