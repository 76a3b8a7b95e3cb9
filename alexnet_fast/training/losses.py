"""What is minimised."""

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
    """Makes the loss that the options name.

    Cross-entropy, with the labels smoothed where the options say so; or the multi-class hinge loss of a
    support vector machine (Weston and Watkins 1999) with a margin of 1.
    """
    if config.loss == "hinge":
        return functional.multi_margin_loss

    def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)

    return cross_entropy


# Keeps the random numbers apart from those of the data plan, which draws from the keys (seed, epoch).
_STREAM = 1 << 63


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixup:
    """Mixes each image with the one half a batch further on.

    The share is drawn from (seed, epoch, step) alone, so a resumed run mixes as one that was never stopped.
    With images dealt to processes in turn, half of each process's even batch is half of the whole one: the
    pairs do not depend on the number of processes. The order is new in every epoch, so the pairs are too.

    Args:
        alpha: Both parameters of the Beta distribution of the share; 0.2 for ImageNet in the paper.
        seed: Of the run.
    """

    alpha: float
    seed: int

    def lam(self, epoch: int, step: int) -> float:
        """Returns what the first image of each pair counts in a step of an epoch, 0.5..1.

        Every image is the first of one pair, so nothing is lost if the first is never the fainter one; and
        the label of the first is the one that training accuracy is counted by.
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
    """Returns the loss of mixed images: both labels, each by its share.

    Args:
        loss: Of plain images.
        logits: (B, classes).
        labels: int64 (B,) of the first image of each pair.
        lam: What the first image counts.
    """
    return lam * loss(logits, labels) + (1.0 - lam) * loss(logits, _partners(labels))


def _partners(batch: torch.Tensor) -> torch.Tensor:
    """Returns the second member of each pair."""
    return batch.roll(len(batch) // 2, dims=0)
