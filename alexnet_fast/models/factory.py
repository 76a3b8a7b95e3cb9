"""`create_model`: a network by its name."""

from __future__ import annotations

from itertools import count
from typing import Any

import torch

from alexnet_fast.errors import UserError, arguments_called
from alexnet_fast.models.alexnet import AlexNet
from alexnet_fast.models.convnet import ConvNet
from alexnet_fast.models.mlp import Perceptron
from alexnet_fast.models.network import Network
from alexnet_fast.models.registry import resolve_spec
from alexnet_fast.models.spec import ConvNetSpec, Initial, ModelSpec, NetSpec, PerceptronSpec, VggSpec
from alexnet_fast.models.vgg import Vgg
from alexnet_fast.utils.memory import refuse_beyond_memory

_FAMILIES: dict[type[NetSpec], type[Network[Any]]] = {
    ModelSpec: AlexNet,
    VggSpec: Vgg,
    PerceptronSpec: Perceptron,
    ConvNetSpec: ConvNet,
}

# Pixels: up to here the largest network of the catalogue, vgg16, has 2 GiB of weights. Larger ones are
# counted first, which imports parts of torch that take seconds.
_ALWAYS_FITS = 512


@arguments_called(model="name", crop="image_size")
def create_model(
    name: str,
    num_classes: int = 1000,
    *,
    image_size: int | None = None,
    lrn_k: float | None = None,
    lrn_alpha: float | None = None,
    dropout: float | None = None,
    init: Initial | None = None,
) -> Network[Any]:
    """Makes a network with fresh weights, drawn from PyTorch's global generator.

    Args:
        name: One of `model_names()`.
        num_classes: Outputs.
        image_size: Side of the input, in pixels, instead of the network's own.
        lrn_k: Additive constant of the LRN, instead of the network's own.
        lrn_alpha: Alpha of the LRN, as `LocalResponseNorm` defines it, instead of the network's own.
        dropout: Probability of dropping a unit, instead of 0.5.
        init: How the weights are drawn, instead of the network's own way; see `models.initial`.

    Raises:
        UserError: No such network, fewer than two classes, an image too small for the layers, or an option
            that the network lacks.
    """
    spec = resolve_spec(
        name, image_size=image_size, lrn_k=lrn_k, lrn_alpha=lrn_alpha, dropout=dropout, init=init
    )
    return network_of(spec, num_classes)


def network_of(spec: NetSpec, num_classes: int) -> Network[Any]:
    """Makes the network that a spec describes; see `create_model`.

    Raises:
        UserError: Fewer than two classes, an image too small for the layers, or more weights than memory.
    """
    if num_classes < 2:
        raise UserError(
            f"--model {spec.name} for {num_classes} class(es)", "a classifier needs two or more", exit_code=2
        )
    family = _FAMILIES[type(spec)]
    if family.side_left(spec, spec.input.crop) < 1:
        smallest = next(side for side in count(1) if family.side_left(spec, side) >= 1)
        problem = f"--crop {spec.input.crop} leaves --model {spec.name} no pixel before flatten"
        raise UserError(problem, f"the smallest that it can read is {smallest}", exit_code=2)
    if spec.input.crop > _ALWAYS_FITS:
        _refuse_huge(spec, num_classes)
    return family(spec, num_classes)


def _refuse_huge(spec: NetSpec, num_classes: int) -> None:
    """Refuses a network whose weights are larger than the memory.

    Raises:
        UserError: They are.
    """
    with torch.device("meta"):
        weights = sum(tensor.nbytes for tensor in _FAMILIES[type(spec)](spec, num_classes).parameters())
    refuse_beyond_memory(
        weights,
        f"--model {spec.name} for images of {spec.input.crop} x {spec.input.crop} pixels",
        "give a smaller --crop",
    )
