"""Accuracy over a loader's pictures."""

from __future__ import annotations

import torch
from torch.nn import functional

from alexnet_fast.models import AlexNet
from alexnet_fast.pipelines.loader import Loader
from alexnet_fast.training.meter import Meter, Score
from alexnet_fast.training.precision import Precision


@torch.inference_mode()
def validate(net: AlexNet, loader: Loader, precision: Precision) -> Score:
    """Returns loss and accuracy of the single centre crop.

    Args:
        net: The network; it comes back in evaluation mode.
        loader: Of the view "centre".
        precision: How to compute.
    """
    net.eval()
    meter = Meter(precision.device)
    for batch in loader.epoch(0):
        if len(batch.labels) == 0:
            continue
        with precision.autocast():
            logits = net(batch.images).float()
        meter.add(functional.cross_entropy(logits, batch.labels), logits, batch.labels)
    return meter.read()
