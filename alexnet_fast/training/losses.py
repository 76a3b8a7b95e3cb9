"""What is minimised."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from alexnet_fast.training.config import TrainConfig

# Of "smoothed", as in Szegedy et al. 2015, section 7.
_SMOOTHING = 0.1

# Logits (B, classes) in float32 and labels int64 (B,) to the mean loss of the batch, ().
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def make_loss(config: TrainConfig) -> Loss:
    """Makes the loss that the options name.

    Cross-entropy, with the labels smoothed where the options say so; or the multi-class hinge loss of a
    support vector machine (Weston and Watkins 1999) with a margin of 1.
    """
    if config.loss == "svm":
        return functional.multi_margin_loss
    smoothing = config.label_smoothing or (_SMOOTHING if config.loss == "smoothed" else 0.0)

    def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)

    return cross_entropy
