"""A network of ours: the ordered list of its layers, and nothing else."""

from __future__ import annotations

import abc
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import nn

from alexnet_fast.models.initial import initialise
from alexnet_fast.models.input_spec import InputSpec
from alexnet_fast.models.layers import Shape, output_shape
from alexnet_fast.models.spec import NetSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Spec = TypeVar("Spec", bound=NetSpec)


class Network(nn.Sequential, abc.ABC, Generic[Spec]):
    """A network that is the ordered list of its layers; `create_model` makes it.

    Children are Conv2d, ReLU, LocalResponseNorm, BatchNorm1d, BatchNorm2d, ZeroPad2d, MaxPool2d,
    AdaptiveAvgPool2d(1), Flatten, Linear and Dropout, nothing else; the last one is a Linear. `flatten`
    orders features by channel, row, column, as Caffe and torchvision do, in either memory format. ReLUs
    work in place: a hook that keeps the output of the layer before must copy it. A slice of the network is
    an `nn.Sequential` that shares its layers.

    Shape:
        `(N, 3, S, S)` with S = `input.crop`, prepared as `input` says, to logits `(N, num_classes)`.

    Args:
        spec: What to build.
        num_classes: Outputs of the last layer.
    """

    def __init__(self, spec: Spec, num_classes: int) -> None:
        super().__init__(OrderedDict(self.layers(spec, num_classes)))
        self.spec = spec
        self.num_classes = num_classes
        if names := self.torchvision_names(spec):
            self.register_load_state_dict_pre_hook(_Renaming(names))  # type: ignore[no-untyped-call]
        initialise(self)

    @staticmethod
    @abc.abstractmethod
    def features(spec: Any, side: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields the layers before `flatten` with their names, for images of `side` pixels."""

    @staticmethod
    @abc.abstractmethod
    def head(spec: Any, inputs: int, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields the layers after `flatten`, which leaves `inputs` numbers."""

    @staticmethod
    def torchvision_names(spec: Any) -> Mapping[str, str]:
        """Maps torchvision's names of the layers that have weights to ours, where it has such a network."""
        del spec
        return {}

    @classmethod
    def layers(cls, spec: Spec, num_classes: int) -> Iterator[tuple[str, nn.Module]]:
        """Yields every layer with its name, in the order in which they run."""
        shape: Shape = (3, spec.input.crop, spec.input.crop)
        for name, layer in cls.features(spec, spec.input.crop):
            shape = output_shape(layer, shape)
            yield name, layer
        yield "flatten", nn.Flatten()
        yield from cls.head(spec, shape[0] * shape[1] * shape[2], num_classes)

    @classmethod
    def side_left(cls, spec: Spec, image_size: int) -> int:
        """Side of the maps before `flatten`; below 1 where a layer before it has nothing left to read."""
        shape: Shape = (3, image_size, image_size)
        with torch.device("meta"):
            for _, layer in cls.features(spec, image_size):
                shape = output_shape(layer, shape)
                if shape[1] < 1:
                    break
        return shape[1]

    @property
    def input(self) -> InputSpec:
        """The images that the network expects."""
        return self.spec.input

    @property
    def last(self) -> str:
        """Name of the last layer, which makes the logits."""
        return next(reversed(self._modules))

    def __getitem__(self, idx: slice | int) -> Any:
        # nn.Sequential would call this class's own constructor with the layers of the slice.
        if isinstance(idx, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[idx]))
        return super().__getitem__(idx)


class _Renaming:
    """Gives torchvision's weights our names before they are loaded; our own names pass through.

    Args:
        names: Theirs to ours.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = dict(names)

    def __call__(self, _net: nn.Module, state_dict: dict[str, Any], prefix: str, *_reporting: object) -> None:
        """Renames in place; torch passes a copy of the caller's dictionary."""
        for theirs, ours in self._names.items():
            for kind in ("weight", "bias"):
                if (tensor := state_dict.pop(f"{prefix}{theirs}.{kind}", None)) is not None:
                    state_dict[f"{prefix}{ours}.{kind}"] = tensor
