"""Accuracy over a loader's pictures."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from alexnet_fast.pipelines.loader import Loader
from alexnet_fast.training.meter import Meter, Score, Sums
from alexnet_fast.training.precision import Precision


@torch.inference_mode()
def validate(net: nn.Module, loader: Loader, precision: Precision, over: Sums = list) -> Score:
    """Returns loss and accuracy of the single centre crop.

    Args:
        net: The network; it comes back in evaluation mode.
        loader: Of the view "centre".
        precision: How to compute.
        over: Adds the sums of all processes, each of which has its own share of the pictures.
    """
    net.eval()
    meter = Meter(precision.device)
    for batch in loader.epoch(0):
        with precision.autocast():
            logits = net(batch.images).float()
        meter.add(functional.cross_entropy(logits, batch.labels), logits, batch.labels)
    return meter.read(over)
