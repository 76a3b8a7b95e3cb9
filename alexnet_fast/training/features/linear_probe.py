"""Feature extraction: the network is frozen and only its last layer learns, on vectors computed once."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import Batch, Loader
from alexnet_fast.training.checkpoint.format import content_digest
from alexnet_fast.training.distributed.group import DistributedContext
from alexnet_fast.training.features.store import cached_vectors
from alexnet_fast.training.precision import Precision
from alexnet_fast.utils.arrays import Floats, Integers
from alexnet_fast.utils.atomic import make_dir
from alexnet_fast.weights import last_layer


class FeatureLoader(Loader):
    """Batches of vectors, in the order and with the labels of the images that they were made of.

    Args:
        source: The loader of the images; its sampler is used for those that could be read.
        values: float32 (N, D), one row an image that could be read.
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
        """Length of a vector, (D,)."""
        return self._values.shape[1:]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields one batch a step from step `start` on; `images` are vectors (B, D)."""
        # No random numbers are drawn for vectors.
        plain = dataclasses.replace(self.spec, jitter=None, random_resized_crop=None, color_jitter=None)
        device = self.config.device
        for plan in self.sampler.epoch(epoch, plain, start):
            indices = self._indices[plan.indices]
            rows = (self._values[plan.indices] - self._mean) / self._std
            yield Batch(torch.from_numpy(rows).to(device), self.labels[indices].to(device), indices)


# Rows whose mean and deviation are taken at a time.
_ROWS = 4096


class LinearProbe:
    """The last layer of a network, and the vectors that it learns on.

    The vectors are brought to mean 0 and deviation 1, so that one learning rate does for every network; what
    that takes is folded into the layer when the whole network is put together again.

    Args:
        net: The network, on the device, with a fresh last layer.
        train: Loader of the training images; which images, batches and order are taken from it.
        val: Loader of the validation images, of the view "eval".
        precision: How to compute.
        cache: Folder that keeps the vectors.
        processes: Those that train together.

    Attributes:
        head: What is trained: the last layer by itself.
        train: Batches of training vectors.
        val: Batches of validation vectors.
    """

    def __init__(
        self,
        net: nn.Module,
        train: Loader,
        val: Loader,
        precision: Precision,
        cache: Path,
        processes: DistributedContext,
    ) -> None:
        self._net, self._name = net, last_layer(net)
        self.head = copy.deepcopy(net.get_submodule(self._name))
        make_dir(cache)
        centre = _centre(train)
        key = self._key(centre)
        values, indices = cached_vectors(net, centre, precision, cache / f"train-{key}", processes)
        self._mean, self._std = _statistics(values)
        train.bad.reasons.update(centre.bad.reasons)
        self.train = FeatureLoader(train, values, indices, self._mean, self._std)
        values, indices = cached_vectors(net, val, precision, cache / f"val-{key}", processes)
        self.val = FeatureLoader(val, values, indices, self._mean, self._std)

    def _key(self, centre: Loader) -> str:
        """Names vectors by what they depend on: weights, images, preprocessing."""
        weights = {n: t for n, t in self._net.state_dict().items() if not n.startswith(f"{self._name}.")}
        spec = centre.spec
        sizes = [spec.resize, spec.crop, list(spec.mean), list(spec.std)]
        return content_digest([weights, centre.images.fingerprint(), sizes])[:16]

    def weights(self, head: nn.Module) -> dict[str, Any]:
        """Returns the state dict of the whole network with a trained last layer."""
        state = dict(self._net.state_dict())
        scale = torch.from_numpy(1 / self._std).to(state[f"{self._name}.weight"])
        shift = torch.from_numpy(self._mean).to(scale)
        weight = head.get_parameter("weight").detach() * scale
        state[f"{self._name}.weight"] = weight
        state[f"{self._name}.bias"] = head.get_parameter("bias").detach() - weight @ shift
        return state


def _centre(train: Loader) -> Loader:
    """Returns a loader of the training images as they are validated: in order, without augmentation."""
    sampler = dataclasses.replace(train.sampler, shuffle=False)
    return make_loader(train.images, train.spec, "eval", sampler, train.config)


def _statistics(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Returns mean and deviation of each column, float32 (D,).

    A column that hardly changes counts as one with a tenth of the median deviation, or 1 where that is 0.
    """
    mean = sum(part.sum(axis=0) for part in _parts(values)) / len(values)
    std = np.sqrt(sum(((part - mean) ** 2).sum(axis=0) for part in _parts(values)) / len(values))
    # What is 0 in all but a few images would else be blown up where it is not.
    std = np.maximum(std, 0.1 * float(np.median(std)))
    std[std == 0] = 1
    return mean.astype(np.float32), std.astype(np.float32)


def _parts(values: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float64]]:
    """Yields some rows at a time in float64: those of ImageNet would take 42 GB all together."""
    for start in range(0, len(values), _ROWS):
        yield values[start : start + _ROWS].astype(np.float64)
