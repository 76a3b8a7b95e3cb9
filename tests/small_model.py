"""A small model that was never trained, and images for it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from alexnet_fast.export.config import CPU_CONFIG, GraphConfig
from alexnet_fast.export.torch_export import export_onnx
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.pipelines.ten_crop import take_crops

CLASSES = ("ant", "bee", "café, noir", "dog", "eel", "fox", "gnu")
SMALL = AugmentSpec(resize=64, crop=56)


def small_net() -> nn.Sequential:
    """Layers of the family, few enough to load and answer at once."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, 2, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(16, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(24 * 6 * 6, len(CLASSES)),
    )


def make_model(
    path: Path, *, seed: int = 1, name: str = "", spec: AugmentSpec = SMALL, form: GraphConfig = CPU_CONFIG
) -> Path:
    """Exports a net of random weights whose answers vary from image to image.

    Args:
        path: File to write.
        seed: Of the weights.
        name: A model of the family; "" for a net of two convolutions.
        spec: Sizes.
        form: Outputs besides the probabilities.
    """
    torch.manual_seed(seed)
    net = (create_model(name, len(CLASSES)) if name else small_net()).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    noise = np.random.default_rng(seed).integers(0, 256, (8, 4, 4, 3), dtype=np.uint8)
    side = -(-spec.resize // 4)
    images = torch.from_numpy(noise.repeat(side, 1).repeat(side, 2)[:, : spec.resize, : spec.resize].copy())
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(2 / net(take_crops(images, spec, "single")).std(dim=0).mean())
        last.bias.sub_(net(take_crops(images, spec, "single")).mean(dim=0))
    export_onnx(net, spec, CLASSES, path, model_name=name or "small", provenance={"seed": seed}, config=form)
    return path


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Encodes an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
