"""`create_model`: a network by its name, and the user's own networks."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alexnet_fast.errors import UserError, arguments_called
from alexnet_fast.models.alexnet import AlexNet
from alexnet_fast.models.convnet import ConvNet
from alexnet_fast.models.mlp import Mlp
from alexnet_fast.models.network import Network
from alexnet_fast.models.registry import model_spec, resolve_spec
from alexnet_fast.models.spec import (
    TORCHVISION_INPUT,
    ConvNetSpec,
    Initial,
    InputSpec,
    MlpSpec,
    ModelSpec,
    NetSpec,
    VggSpec,
)
from alexnet_fast.models.vgg import Vgg
from alexnet_fast.utils.memory import check_memory

_FAMILIES: dict[type[NetSpec], type[Network[Any]]] = {
    ModelSpec: AlexNet,
    VggSpec: Vgg,
    MlpSpec: Mlp,
    ConvNetSpec: ConvNet,
}

# Pixels: up to here the largest network of the registry, vgg16, has 2 GiB of weights. The weights of larger
# ones are counted first, which imports parts of torch that take seconds.
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
    """Makes a network with initial weights from PyTorch's global generator.

    Args:
        name: One of `model_names()`.
        num_classes: Number of outputs.
        image_size: Side of the input, in pixels, instead of the network's own.
        lrn_k: Additive constant of the LRN, instead of the network's own.
        lrn_alpha: Alpha of the LRN, as `LocalResponseNorm` defines it, instead of the network's own.
        dropout: Probability of dropping a unit, instead of 0.5.
        init: Initialisation of the weights, instead of the network's own; see `models.network`.

    Raises:
        UserError: There is no such network, fewer than two classes, or an image too small for the layers; or
            the network lacks an option.
    """
    spec = resolve_spec(
        name, image_size=image_size, lrn_k=lrn_k, lrn_alpha=lrn_alpha, dropout=dropout, init=init
    )
    return network_of(spec, num_classes)


def network_of(spec: NetSpec, num_classes: int) -> Network[Any]:
    """Makes the network of a spec; see `create_model`.

    Raises:
        UserError: There are fewer than two classes, the image is too small, or the weights exceed the memory.
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
        _check_size(spec, num_classes)
    return family(spec, num_classes)


def _check_size(spec: NetSpec, num_classes: int) -> None:
    """Checks that the weights fit into memory.

    Raises:
        UserError: They do not.
    """
    with torch.device("meta"):
        weights = sum(tensor.nbytes for tensor in _FAMILIES[type(spec)](spec, num_classes).parameters())
    check_memory(
        weights,
        f"--model {spec.name} for images of {spec.input.crop} x {spec.input.crop} pixels",
        "give a smaller --crop",
    )


def is_custom(name: str) -> bool:
    """Returns whether a name is that of a user's own network, `package.module:Net`."""
    return ":" in name


def build_model(arguments: dict[str, Any]) -> nn.Module:
    """Makes a network of the registry or of the user.

    Args:
        arguments: The arguments of `create_model`; a user's own network takes only "name", "num_classes" and
            "image_size", the side that it is tested with.

    Raises:
        UserError: There is no such network, it cannot be made, or its output is not that of a classifier.
    """
    name = arguments["name"]
    if not is_custom(name):
        return create_model(**arguments)
    unknown = arguments.keys() - {"name", "num_classes", "image_size"}
    if unknown:
        option = "--" + min(unknown).replace("_", "-")
        raise UserError(f"--model {name} has no {option}", f"leave {option} out", exit_code=2)
    net = _construct(name, arguments["num_classes"])
    _check_outputs(name, net, arguments["num_classes"], arguments.get("image_size") or input_of(name).crop)
    return net


def input_of(name: str) -> InputSpec:
    """Returns the input of a network of the registry or of the user.

    Raises:
        UserError: There is no such network.
    """
    if not is_custom(name):
        return model_spec(name).input
    declared = getattr(_factory(name), "input", None)
    return declared if isinstance(declared, InputSpec) else TORCHVISION_INPUT


def _factory(name: str) -> Callable[[int], object]:
    """Imports the class or function of a name."""
    module_name, _, attribute = name.partition(":")
    module = _import(name, module_name)
    factory = getattr(module, attribute, None)
    if factory is None:
        near = difflib.get_close_matches(attribute, dir(module), n=1)
        hint = f"did you mean {module_name}:{near[0]}?" if near else "give the name of a class or function"
        raise UserError(
            f"--model {name}: {module_name} has no {attribute or 'empty name'}", hint, exit_code=2
        )
    if not callable(factory):
        raise UserError(
            f"--model {name} cannot be called", "it must be a class or function of num_classes", exit_code=2
        )
    return factory  # type: ignore[no-any-return]


def _import(name: str, module_name: str) -> object:
    """Imports the module, which may be in the current directory, as for `python -m`."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module_name)
    except Exception as error:
        raise UserError(
            f"--model {name}: {module_name or 'an empty name'} cannot be imported"
            f" ({type(error).__name__}: {error})",
            "give package.module:Net, importable from here or by PYTHONPATH",
            exit_code=2,
        ) from error


def _construct(name: str, num_classes: int) -> nn.Module:
    """Makes the network."""
    try:
        net = _factory(name)(num_classes)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"--model {name} cannot be called with {num_classes} ({type(error).__name__}: {error})",
            "it must take the number of classes as its only argument",
            exit_code=2,
        ) from error
    if not isinstance(net, nn.Module):
        raise UserError(f"--model {name} gives a {type(net).__name__}, not an nn.Module", exit_code=2)
    if not any(p.requires_grad for p in net.parameters()):
        raise UserError(f"--model {name} has no parameters to train", exit_code=2)
    return net


def _check_outputs(name: str, net: nn.Module, num_classes: int, side: int) -> None:
    """Checks the shape of the network's output for two black images."""
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            logits = net(torch.zeros(2, 3, side, side))
    except Exception as error:
        raise UserError(
            f"--model {name} fails on images of {side} x {side} pixels ({type(error).__name__}: {error})",
            "give --crop with a size that it can read",
            exit_code=2,
        ) from error
    net.train(training)
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (2, num_classes):
        raise UserError(
            f"--model {name} turns 2 images into {shape}, not (2, {num_classes})",
            "it must return one logit per class",
            exit_code=2,
        )
