"""Make small image loaders and compare their streams."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

from alexnet_fast.pipelines import AugmentSpec, ImageLoader

SPEC = AugmentSpec(resize=72, crop=64)
KINDS = pytest.mark.parametrize("kind", ["dali", "torch"])
Pair = tuple[torch.Tensor, torch.Tensor]


def loader_of(data: object, **options: object) -> ImageLoader:
    """Makes a loader of small images."""
    settings = {"batch_size": 8, "spec": SPEC, "workers": 2, "device": "cpu", **options}
    return ImageLoader(data, **settings)  # type: ignore[arg-type]


def equal(left: Iterable[Pair], right: Iterable[Pair]) -> bool:
    """Returns whether two streams are the same, bit for bit."""
    left, right = list(left), list(right)
    return len(left) == len(right) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(left, right, strict=True)
    )
