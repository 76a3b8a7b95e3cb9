"""The loss functions, and mixup."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from alexnet_fast.training.config import TrainConfig

# Logits (B, classes) in float32 and labels int64 (B,) to the mean loss of the batch, ().
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_loss(config: TrainConfig) -> Loss:
    """Makes the loss of `config.loss`.

    It is cross-entropy, with label smoothing if the options ask for it, or the multi-class hinge loss of a
    support vector machine (Weston and Watkins 1999) with a margin of 1.
    """
    if config.loss == "hinge":
        return functional.multi_margin_loss

    def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)

    return cross_entropy


# Separates the random numbers from those of the data order, whose keys are (seed, epoch).
_STREAM = 1 << 63


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixup:
    """Mixes each image with the one half a batch further on (Zhang et al. 2017, "mixup").

    Ours instead of torchvision's MixUp, because lambda depends on (seed, epoch, step) alone: a resumed run
    mixes like an uninterrupted one. Images are dealt to processes in turn, so half of each process's even
    batch is half of the whole batch: the pairs do not depend on the number of processes. They change with the
    order in every epoch.

    Args:
        alpha: Both parameters of the Beta distribution of lambda; 0.2 for ImageNet in the paper.
        seed: Seed of the run.
    """

    alpha: float
    seed: int

    def lam(self, epoch: int, step: int) -> float:
        """Returns the weight of the first image of each pair in a step of an epoch, 0.5..1.

        Every image is the first of one pair, so a weight of at least a half loses nothing; and training
        accuracy compares with the label of the first.
        """
        key = np.array([self.seed, _STREAM + epoch], np.uint64)
        # In the upper half of the counter, so that the numbers of two steps never overlap.
        generator = np.random.Generator(np.random.Philox(key=key, counter=step << 128))
        lam = float(generator.beta(self.alpha, self.alpha))
        return max(lam, 1.0 - lam)


def mix(images: torch.Tensor, lam: float) -> torch.Tensor:
    """Returns the mixed images, (B, 3, crop, crop) in the layout of `images`."""
    return torch.lerp(_partners(images), images, lam)


def mixed_loss(
    loss: Loss, logits: torch.Tensor, labels: torch.Tensor, lam: float | torch.Tensor
) -> torch.Tensor:
    """Returns the loss of mixed images: that of both labels, weighted.

    Args:
        loss: The loss of unmixed images.
        logits: (B, classes).
        labels: int64 (B,) of the first image of each pair.
        lam: Weight of the first image.
    """
    return lam * loss(logits, labels) + (1.0 - lam) * loss(logits, _partners(labels))


def _partners(batch: torch.Tensor) -> torch.Tensor:
    """Returns the second member of each pair."""
    return batch.roll(len(batch) // 2, dims=0)
