"""Weights with which networks give different images different answers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import take_crops


def sharpen(net: nn.Sequential, images: np.ndarray, spec: AugmentSpec) -> nn.Sequential:
    """Gives weights with which the logits of a class vary by 2 from image to image.

    The paper's initial weights give every image the same answer, and then every mistake agrees with it.
    """
    training = net.training
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.normal_(module.bias, 0, 0.1)
    crops = take_crops(torch.from_numpy(images), spec, "single")
    with torch.no_grad():
        net[-1].weight.mul_(2 / net.eval()(crops).std(dim=0).mean())
        net[-1].bias.sub_(net(crops).mean(dim=0))
    return net.train(training)
