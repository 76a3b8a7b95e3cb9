"""Whether a module is exactly what its class says, so that class and settings tell all that it computes.

A hook, a replaced method, a parametrisation or an attribute of another type may change what a module answers
without changing its name. This is a positive list: what is not known to be untouched is not known.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# What a module of ours or of torch's holds; anything else (weight_g, weight_orig, a packed weight) is not
# known.
_PARAMETERS = frozenset({"weight", "bias"})
_BUFFERS = frozenset({"running_mean", "running_var", "num_batches_tracked"})
# What a subclass of nn.Sequential may define without changing how its layers run one after the other.
# `input` is the InputSpec of a network of the user's (models.own).
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
    """Says what makes a single layer compute something else than its class and settings tell.

    Args:
        module: Of a class that is known.

    Returns:
        The reason, to stand behind the layer's name; None where there is none.
    """
    return _touched(module) or _strange_tensors(module) or _patched(type(module))


def why_no_sequence(net: torch.nn.Module) -> str | None:
    """Says why a network is not known to run its children one after the other, and nothing else.

    Returns:
        The reason, to stand behind the network's name; None where there is none.
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
    """Looks at what may have been hung on one instance."""
    if module._forward_hooks or module._forward_pre_hooks:
        return "has a forward hook"
    for name in vars(module):
        if callable(getattr(type(module), name, None)):
            return f"has a {name} of its own"
    return None


def _strange_tensors(module: torch.nn.Module) -> str | None:
    """Looks at what one layer computes with."""
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
    """Finds a class whose forward somebody has replaced: the replacement comes from another module."""
    from torch import nn

    defined = next(base for base in kind.__mro__ if "forward" in vars(base))
    at_home = getattr(kind.forward, "__module__", None) == defined.__module__
    if at_home and kind.__call__ is nn.Module.__call__:
        return None
    return "is of a class whose forward was replaced"


@functools.lru_cache(maxsize=256)
def _runs_in_order(kind: type[Any]) -> bool:
    """Whether a class runs its children as nn.Sequential does."""
    from torch import nn

    from alexnet_fast.models.network import Network

    if Network in kind.__mro__ and kind.__module__.startswith("alexnet_fast.models."):
        # The families of ours; a user's subclass of one stands in another module, and is looked at below.
        return True
    if nn.Sequential not in kind.__mro__ or type(kind) is not type:
        return False
    between = kind.__mro__[: kind.__mro__.index(nn.Sequential)]
    return all(vars(base).keys() <= _HARMLESS for base in between)
