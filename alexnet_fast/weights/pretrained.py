"""Weights by the names of our layers, with what belongs to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alexnet_fast.errors import UserError
from alexnet_fast.models import InputSpec, Network
from alexnet_fast.weights.caffe import caffe_input, caffe_model, from_caffe, from_tensorflow, read_caffe_model
from alexnet_fast.weights.known_networks import recognise
from alexnet_fast.weights.npy import read_arrays
from alexnet_fast.weights.state_dict import with_torchvision_names, without_prefixes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretrained:
    """What a file of weights holds.

    Args:
        path: The file or run folder.
        tensors: By name in the network; kernels are (out, in / groups, height, width) for RGB, matrices are
            (out, in), the inputs by channel, row, column.
        input: The images that they were trained with, where the file or its kind says so.
        classes: Names of the outputs, where the file says so.
        model: The network that computes what they were trained as, where that is known.
    """

    path: Path
    tensors: dict[str, torch.Tensor]
    input: InputSpec | None = None
    classes: tuple[str, ...] | None = None
    model: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What was taken over.

    Args:
        tensors: How many.
        new_head: Whether the last layer kept its fresh values.
    """

    tensors: int
    new_head: bool


def fit_weights(
    net: nn.Module, weights: Pretrained, classes: tuple[str, ...] | None, *, new_head: bool = False
) -> Fitted:
    """Fills a network.

    The last layer begins anew where it is for other classes: of another number, or of other names where
    `weights` has names.

    Args:
        net: Filled in place; untouched if anything does not fit.
        weights: The tensors.
        classes: What the outputs mean; None takes any names.
        new_head: Let the last layer begin anew in any case.

    Raises:
        UserError: A tensor is missing, is one too many, or has another shape; it is named with both shapes.
    """
    wanted = net.state_dict()
    found = our_names(net, weights.tensors)
    head = {f"{last_layer(net)}.{kind}" for kind in ("weight", "bias")} & wanted.keys()
    fresh = new_head or _other_classes(weights, classes, wanted, found, head)
    needed = {name: tensor for name, tensor in wanted.items() if not (fresh and name in head)}
    _check(weights, needed, {n: t for n, t in found.items() if not (fresh and n in head)})
    net.load_state_dict({**wanted, **{name: found[name] for name in needed if name in found}})
    return Fitted(tensors=len(needed), new_head=fresh)


def last_layer(net: nn.Module) -> str:
    """Returns the name of the layer that makes the logits: the last that is a matrix.

    Raises:
        UserError: There is no such layer.
    """
    names = [name for name, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    if not names:
        raise UserError("the network has no fully-connected layer to begin anew", exit_code=2)
    return str(names[-1])


def our_names(net: nn.Module, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gives names of torchvision and timm, and those behind a prefix, the network's own where it has them."""
    wanted = net.state_dict().keys()
    names = net.torchvision_names(net.spec) if isinstance(net, Network) else {}
    ways = [
        _renamed(with_torchvision_names(plain) if names else plain, names)
        for plain in without_prefixes(tensors)
    ]
    # The first of equal ones: names are left as they are where nothing is gained.
    return max(ways, key=lambda renamed: len(wanted & renamed.keys()))


def _renamed(tensors: dict[str, torch.Tensor], names: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Gives layers other names."""
    renamed = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        renamed[f"{names.get(layer, layer)}.{kind}" if layer else name] = tensor
    return renamed


def _other_classes(
    weights: Pretrained,
    classes: tuple[str, ...] | None,
    wanted: dict[str, Any],
    found: dict[str, torch.Tensor],
    head: set[str],
) -> bool:
    """Returns whether the last layer was for other classes."""
    if classes is not None and weights.classes is not None:
        return weights.classes != classes
    return any(name in found and len(found[name]) != len(wanted[name]) for name in head)


def _check(weights: Pretrained, needed: dict[str, Any], found: dict[str, torch.Tensor]) -> None:
    """Compares names and shapes.

    Raises:
        UserError: A name or a shape differs.
    """
    hint = _hint(weights)
    for name, tensor in needed.items():
        if name not in found:
            # Counters of batches are of no use here, and files of before PyTorch 0.4.1 lack them.
            if name.endswith("num_batches_tracked"):
                continue
            raise UserError(f"{weights.path} has no {name}, which the network needs", hint)
        if found[name].shape != tensor.shape:
            raise UserError(
                f"{name} in {weights.path} has shape {_shape(found[name])},"
                f" the network needs {_shape(tensor)}",
                hint + ", and the --crop of that training",
            )
    strangers = sorted(found.keys() - needed.keys())
    if strangers:
        raise UserError(f"{weights.path} has {strangers[0]}, which the network does not know", hint)


def _hint(weights: Pretrained) -> str:
    """Returns which model to give."""
    if weights.model:
        return f"give --model {weights.model}"
    found = recognise(weights.tensors)
    if found is None:
        return "give the --model that they were trained for"
    if found.ours:
        return f"they look like {found.name} of torchvision: give --model {found.ours}"
    return (
        f"they look like {found.name} of torchvision or timm: give a --model package.module:Net that makes it"
    )


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "()"


def is_external(path: Path) -> bool:
    """Returns whether a file is one that `read_foreign` reads, by its ending."""
    return path.suffix in (".npy", ".caffemodel")


def read_foreign(path: Path) -> Pretrained:
    """Reads a `.caffemodel`, or a `.npy` that was made of one for TensorFlow; nothing in the file is run.

    Raises:
        UserError: The file is missing, damaged, or of another kind.
    """
    if path.suffix == ".caffemodel":
        net_name, arrays = read_caffe_model(path)
        tensors = from_caffe(arrays)
    else:
        net_name, tensors = "", from_tensorflow(read_arrays(path))
    return Pretrained(
        path=path, tensors=tensors, input=caffe_input(tensors), model=caffe_model(tensors, net_name)
    )
