"""Copies a network for an export: in evaluation mode, on the CPU, in float32."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from alexnet_fast.errors import UserError
from alexnet_fast.export.layer_place import described, first_line

if TYPE_CHECKING:
    import torch

_STATISTICS = ("running_mean", "running_var")


def evaluation_copy(net: torch.nn.Module) -> torch.nn.Module:
    """Copies a network for evaluation on the CPU; the network itself is not changed.

    The copy is in float32, unless the weights are of several types: then the network's own forward converts.
    It is on the CPU even if the network is on a GPU: TF32 there would be measured as the file's error. A
    network wrapped by `torch.compile` is unwrapped; it computes the same.

    Raises:
        UserError: A weight is missing or not finite, or a layer of a network in evaluation mode is in
            training mode (it is named), or the network cannot be copied.
    """
    net = _uncompiled(net)
    check_weights(net)
    _check_modes(net)
    # Tensors that a hook computed, such as weight_norm's, carry a graph, which deepcopy refuses.
    computed = [t for module in net.modules() for t in vars(module).values() if _has_history(t)]
    try:
        copied = copy.deepcopy(net, {id(tensor): tensor.detach().clone() for tensor in computed})
    except Exception as error:
        raise UserError(
            f"{described('', net)} cannot be copied ({type(error).__name__}: {first_line(error)})",
            "remove from it what copy.deepcopy refuses",
        ) from error
    for module in list(copied.modules()):
        module._compiled_call_impl = None
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = _uncompiled(child)
    copied = copied.to("cpu").eval()
    return copied.float() if len(_float_types(copied)) <= 1 else copied


def check_weights(net: torch.nn.Module) -> None:
    """Checks that all weights of a network are there and finite.

    Raises:
        UserError: A weight has no value yet, or is not finite; its layer is named.
    """
    from torch.nn.parameter import is_lazy

    statistics = [(name, value) for name, value in net.named_buffers() if name.endswith(_STATISTICS)]
    for name, tensor in (*net.named_parameters(), *statistics):
        layer = name.rpartition(".")[0] or name
        if is_lazy(tensor) or tensor.is_meta:
            raise UserError(
                f"layer {layer} has no weights yet",
                "load them, or run the network once, before it is exported",
            )
        if tensor.is_floating_point() and not tensor.detach().isfinite().all():
            raise UserError(
                f"layer {layer} has weights that are not finite",
                "training has diverged: export an earlier checkpoint or train with a lower --lr",
            )


def _check_modes(net: torch.nn.Module) -> None:
    """Checks that no layer of a network in evaluation mode is in training mode.

    A network that is wholly in training mode is fine: eval() was merely not called yet. If one layer was left
    or put in training mode, the answers are not those of evaluation.

    Raises:
        UserError: A layer that computes differently in training is in training mode; it is named.
    """
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.dropout import _DropoutNd
    from torch.nn.modules.instancenorm import _InstanceNorm

    if net.training:
        return
    for name, module in net.named_modules():
        if module.training and isinstance(module, _BatchNorm | _DropoutNd | _InstanceNorm):
            raise UserError(
                f"{described(name, module)} is in training mode, and the network around it is not",
                "call eval() of the whole network: an export answers as in evaluation",
            )


def _uncompiled(net: torch.nn.Module) -> torch.nn.Module:
    """Returns the network that `torch.compile` wrapped, unless the wrapper itself has hooks."""
    while type(net).__name__ == "OptimizedModule" and not (net._forward_hooks or net._forward_pre_hooks):
        inner: torch.nn.Module = net._orig_mod  # type: ignore[assignment]
        net = inner
    return net


def _has_history(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and not value.is_leaf


def _float_types(net: torch.nn.Module) -> set[torch.dtype]:
    return {t.dtype for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()}
