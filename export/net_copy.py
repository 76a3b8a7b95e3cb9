"""The copy of a network that is exported and compared with: as it evaluates, on the CPU, in float32."""

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

    In float32, unless its weights are of several types: then its own forward says where it converts. On the
    CPU even where the net is on a GPU: TF32 there would be measured as the file's error. What `torch.compile`
    wraps is taken out of its wrapper, for it computes the same.

    Raises:
        UserError: A weight is missing or not finite, or a layer of a network in evaluation mode is in
            training mode (it is named), or the network cannot be copied.
    """
    net = _uncompiled(net)
    check_weights(net)
    _check_modes(net)
    # Tensors that a hook computed, such as weight_norm's, know their history, which deepcopy refuses.
    computed = [t for module in net.modules() for t in vars(module).values() if _has_history(t)]
    try:
        copied = copy.deepcopy(net, {id(tensor): tensor.detach().clone() for tensor in computed})
    except Exception as error:
        raise UserError(
            f"{described('', net)} cannot be copied ({type(error).__name__}: {first_line(error)})",
            "hold nothing in it that copy.deepcopy refuses",
        ) from error
    for module in list(copied.modules()):
        module._compiled_call_impl = None
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = _uncompiled(child)
    copied = copied.to("cpu").eval()
    return copied.float() if len(_float_types(copied)) <= 1 else copied


def check_weights(net: torch.nn.Module) -> None:
    """Refuses a network that has not all its numbers.

    Raises:
        UserError: A weight has no value yet, or is no finite number; its layer is named.
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
                f"layer {layer} holds weights that are not finite numbers",
                "training has diverged: export an earlier checkpoint or train with a lower --lr",
            )


def _check_modes(net: torch.nn.Module) -> None:
    """Refuses a network that is in evaluation mode but for a layer that answers otherwise in training mode.

    A network that is in training mode altogether has merely not been told that it is evaluated; where
    somebody has left, or put, one layer of it in training mode, its answers are not those of evaluation.

    Raises:
        UserError: There is such a layer; it is named.
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
    """Returns what `torch.compile` was given, unless something hangs on the wrapper itself."""
    while type(net).__name__ == "OptimizedModule" and not (net._forward_hooks or net._forward_pre_hooks):
        inner: torch.nn.Module = net._orig_mod  # type: ignore[assignment]
        net = inner
    return net


def _has_history(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and not value.is_leaf


def _float_types(net: torch.nn.Module) -> set[torch.dtype]:
    return {t.dtype for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()}
