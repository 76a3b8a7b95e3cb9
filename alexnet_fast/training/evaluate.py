"""Accuracy over a loader's images, each counted once whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.pipelines.loader import Loader
from alexnet_fast.training.metrics import ClassificationMetrics, Metrics, Sums
from alexnet_fast.training.precision import Precision


def validate(
    net: nn.Module,
    loader: Loader,
    precision: Precision,
    *,
    over: Sums = list,
    between: Callable[[], None] = lambda: None,
) -> Metrics:
    """Returns loss and accuracy of the single centre crop.

    No process gets images of another to fill its last batch: the shares differ by an image, and the sums
    over all of them are divided by the true number.

    Args:
        net: The network; it comes back in evaluation mode.
        loader: Of the view "centre", over this process's share of the images.
        precision: How to compute.
        over: Adds the sums of all processes.
        between: Called after each batch, equally often in every process.
    """
    net.eval()
    meter = ClassificationMetrics(precision.device)
    batches = loader.epoch(0)
    for _ in range(loader.rounds):
        batch = next(batches, None)
        if batch is not None and len(batch.labels):
            with torch.inference_mode(), precision.autocast():
                logits = net(batch.images).float()
                meter.add(functional.cross_entropy(logits, batch.labels), logits, batch.labels)
        between()
    next(batches, None)
    return meter.read(over)
