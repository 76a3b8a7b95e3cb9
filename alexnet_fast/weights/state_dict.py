"""State dicts as other programs save them: what is around them, and what stands before their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]

# Where training scripts keep the weights in what they save, those first that are to be taken.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "network")
# A checkpoint within a checkpoint within a dictionary.
_DEPTH = 3
# torch.optim.swa_utils.AveragedModel counts with it.
_NO_WEIGHTS = ("n_averaged",)


def unwrapped(content: Mapping[Any, Any]) -> Tensors | None:
    """Returns the tensors by name in what a file holds.

    They are the whole dictionary, or that under a key such as "state_dict" (timm, Lightning) or "model"
    (torchvision's scripts).

    Args:
        content: What `torch.load` gave.

    Returns:
        None where no dictionary holds tensors by name alone.
    """
    for _ in range(_DEPTH):
        named = {str(name): value for name, value in content.items() if name not in _NO_WEIGHTS}
        if named and all(isinstance(value, torch.Tensor) for value in named.values()):
            return named
        inner = next((named[key] for key in _WRAPPERS if isinstance(named.get(key), Mapping)), None)
        if inner is None:
            return None
        content = inner
    return None


def without_prefixes(tensors: Tensors) -> Iterator[Tensors]:
    """Yields the tensors by their names as they are, then without what stands before all of them.

    That is "module." of DataParallel, "_orig_mod." of torch.compile, "model." of Lightning, or any other
    attribute that a network was kept in; several of them are taken off one by one.
    """
    yield tensors
    while tensors:
        first = next(iter(tensors)).partition(".")[0] + "."
        if not all(name.startswith(first) and len(name) > len(first) for name in tensors):
            return
        tensors = {name.removeprefix(first): value for name, value in tensors.items()}
        yield tensors


def with_torchvision_names(tensors: Tensors) -> Tensors:
    """Gives timm's VGG the names and shapes of torchvision's: its fully-connected layers are convolutions."""
    if "pre_logits.fc1.weight" not in tensors:
        return tensors
    names = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
    renamed = {}
    for name, value in tensors.items():
        layer, _, kind = name.rpartition(".")
        matrix = value.flatten(1) if layer in names and value.dim() == 4 else value
        renamed[f"{names.get(layer, layer)}.{kind}"] = matrix
    return renamed
