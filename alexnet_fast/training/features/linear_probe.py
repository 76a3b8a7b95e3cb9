"""Linear probe: the last layer is trained on embeddings that the frozen network computes once."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.checkpoint.format import state_hash
from alexnet_fast.training.context import TrainContext
from alexnet_fast.training.data import Loaders
from alexnet_fast.training.features.store import cached_vectors
from alexnet_fast.utils.arrays import Doubles, Floats, Integers
from alexnet_fast.utils.atomic import make_dir
from alexnet_fast.weights import last_layer


class FeatureLoader(Loader):
    """Batches of embeddings, in the order and with the labels of their images.

    Args:
        source: The loader of the images; its sampler orders those that could be read.
        values: float32 (N, D), one row per image that could be read.
        indices: int64 (N,), their positions in the image list.
        mean: Subtracted, float32 (D,).
        std: Divides, float32 (D,).
    """

    def __init__(self, source: Loader, values: Floats, indices: Integers, mean: Floats, std: Floats) -> None:
        sampler = dataclasses.replace(source.sampler, num_images=len(indices))
        super().__init__(source.images, source.spec, source.view, sampler, source.config)
        self.bad = source.bad
        self._values, self._indices, self._mean, self._std = values, indices, mean, std

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an embedding, (D,)."""
        return self._values.shape[1:]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch per step from step `start` on; `images` are embeddings (B, D)."""
        # Embeddings need no random numbers.
        plain = dataclasses.replace(self.spec, jitter=None, random_resized_crop=None, color_jitter=None)
        device = self.config.device
        for plan in self.sampler.epoch(epoch, plain, start):
            indices = self._indices[plan.indices]
            rows = (self._values[plan.indices] - self._mean) / self._std
            yield Batch(torch.from_numpy(rows).to(device), self.labels[indices].to(device), indices)


# Rows per block in the computation of mean and deviation.
_ROWS = 4096


class LinearProbe:
    """The last layer of a network, and the embeddings that it is trained on.

    The embeddings are normalised to mean 0 and deviation 1, so that one learning rate suits every network;
    `weights` folds the normalisation into the layer.

    Args:
        net: The network, on the device, with a fresh last layer.
        data: The loaders of the images.
        context: The training run.
        cache: Directory for the embeddings.

    Attributes:
        head: The last layer.
        data: Loaders of the embeddings.
    """

    def __init__(self, net: nn.Module, data: Loaders, context: TrainContext, cache: Path) -> None:
        self._net, self._name = net, last_layer(net)
        self.head = copy.deepcopy(net.get_submodule(self._name))
        make_dir(cache)
        unaugmented = _unaugmented(data.train)
        key = self._key(unaugmented)
        values, indices = cached_vectors(net, unaugmented, context, cache / f"train-{key}")
        self._mean, self._std = _statistics(values)
        data.train.bad.reasons.update(unaugmented.bad.reasons)
        train = FeatureLoader(data.train, values, indices, self._mean, self._std)
        values, indices = cached_vectors(net, data.val, context, cache / f"val-{key}")
        self.data = Loaders(train, FeatureLoader(data.val, values, indices, self._mean, self._std))

    def _key(self, unaugmented: Loader) -> str:
        """Returns a name for embeddings from what they depend on: weights, images, preprocessing."""
        weights = {n: t for n, t in self._net.state_dict().items() if not n.startswith(f"{self._name}.")}
        spec = unaugmented.spec
        sizes = [spec.resize, spec.crop, list(spec.mean), list(spec.std)]
        return state_hash([weights, unaugmented.images.fingerprint(), sizes])[:16]

    def weights(self, head: nn.Module) -> dict[str, Any]:
        """Returns the state dict of the whole network with a trained last layer."""
        state = dict(self._net.state_dict())
        scale = torch.from_numpy(1 / self._std).to(state[f"{self._name}.weight"])
        shift = torch.from_numpy(self._mean).to(scale)
        weight = head.get_parameter("weight").detach() * scale
        state[f"{self._name}.weight"] = weight
        state[f"{self._name}.bias"] = head.get_parameter("bias").detach() - weight @ shift
        return state


def _unaugmented(train: Loader) -> Loader:
    """Returns a loader of the training images in order, without augmentation."""
    schedule = dataclasses.replace(train.sampler, shuffle=False)
    return make_loader(train.images, train.spec, "eval", schedule, train.config)


def _statistics(values: Floats) -> tuple[Floats, Floats]:
    """Returns mean and deviation of each column, float32 (D,).

    The deviation of a column is at least a tenth of the median deviation, or 1 if that is 0.
    """
    mean = sum(block.sum(axis=0) for block in _blocks(values)) / len(values)
    std = np.sqrt(sum(((block - mean) ** 2).sum(axis=0) for block in _blocks(values)) / len(values))
    # A column that is 0 in almost all images would otherwise be blown up in the others.
    std = np.maximum(std, 0.1 * float(np.median(std)))
    std[std == 0] = 1
    return mean.astype(np.float32), std.astype(np.float32)


def _blocks(values: Floats) -> Iterator[Doubles]:
    """Yields blocks of rows in float64: those of ImageNet would take 42 GB all together."""
    for start in range(0, len(values), _ROWS):
        yield values[start : start + _ROWS].astype(np.float64)
