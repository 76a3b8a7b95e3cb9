"""Loss and accuracy, summed on the device and read on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.pipelines.loader import Loader
from alexnet_fast.training.precision import Precision

# Adds up the numbers of all processes.
AllReduceSum = Callable[[list[float]], list[float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metrics:
    """Averages over a set of images.

    Args:
        loss: Mean cross-entropy.
        top1: Fraction whose top class is right, 0..1.
        top5: Fraction with the right class among the top five, 0..1; among all classes if there are fewer.
        images: Number of images.
    """

    loss: float
    top1: float
    top5: float
    images: int


class ClassificationMetrics:
    """Sums over batches without waiting for the device.

    Args:
        device: The device of the logits.
    """

    def __init__(self, device: torch.device) -> None:
        # Sum of losses, right at first place, right within five, images.
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, loss: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> None:
        """Adds a batch.

        Args:
            loss: Mean loss of the batch, ().
            scores: Logits or probabilities, (B, classes).
            labels: int64 (B,).
        """
        best = scores.topk(min(5, scores.shape[1]), dim=1).indices
        right = best == labels[:, None]
        batch = labels.shape[0]
        self._sums += torch.stack(
            [
                loss.double() * batch,
                right[:, 0].sum().double(),
                right.any(dim=1).sum().double(),
                torch.full((), batch, dtype=torch.float64, device=self._sums.device),
            ]
        )

    def read(self, all_reduce_sum: AllReduceSum = list) -> Metrics:
        """Waits for the device and returns the averages so far.

        Args:
            all_reduce_sum: Adds the sums of all processes.
        """
        loss, top1, top5, images = all_reduce_sum(self._sums.tolist())
        count = max(images, 1.0)
        return Metrics(loss=loss / count, top1=top1 / count, top5=top5 / count, images=int(images))

    def reset(self) -> None:
        """Sets the sums to 0."""
        self._sums.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Returns the sums."""
        return {"sums": self._sums}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads saved sums."""
        self._sums.copy_(state["sums"])


def validate(
    net: nn.Module,
    loader: Loader,
    precision: Precision,
    *,
    all_reduce_sum: AllReduceSum = list,
    after_batch: Callable[[], None] = lambda: None,
) -> Metrics:
    """Returns loss and accuracy of the single centre crop.

    The shares of the processes differ by an image. No process repeats images to fill its last batch; the
    sums over all processes are divided by the true number of images.

    Args:
        net: The network; it comes back in evaluation mode.
        loader: Loader of the view "eval", over this process's share of the images.
        precision: Device and number type.
        all_reduce_sum: Adds the sums of all processes.
        after_batch: Called after each batch, equally often in every process.
    """
    net.eval()
    metrics = ClassificationMetrics(precision.device)
    batches = loader.epoch(0)
    for _ in range(loader.rounds):
        batch = next(batches, None)
        if batch is not None and len(batch.labels):
            with torch.inference_mode(), precision.autocast():
                logits = net(batch.images).float()
                metrics.add(functional.cross_entropy(logits, batch.labels), logits, batch.labels)
        after_batch()
    next(batches, None)
    return metrics.read(all_reduce_sum)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochMetrics:
    """The metrics of an epoch; a row of metrics.csv.

    Args:
        epoch: Counted from 1.
        step: Optimiser steps since the start of the run.
        lr: Learning rate during the epoch.
        train_loss: Mean training loss, dropout active.
        train_top1: Training accuracy, 0..1.
        val_loss: Mean validation loss.
        val_top1: Validation accuracy of the single centre crop, 0..1.
        val_top5: Fraction of validation images with the right class among the top five.
        images_per_second: Training images per second, input and computation, without validation.
        data_wait: Fraction of the training time that the process spent waiting for data, 0..1.
        seconds: Time of training and validation.
        bad_images: Images skipped so far.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    val_top5: float
    images_per_second: float
    data_wait: float
    seconds: float
    bad_images: int
