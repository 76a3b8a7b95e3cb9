"""The odd images as a list."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexnet_fast.data import ClassMap, ImageList


@pytest.fixture
def odd_list(odd_images: Path) -> ImageList:
    """The odd images as one list."""
    names = tuple(sorted(f"odd/{file.name}" for file in odd_images.iterdir()))
    return ImageList(
        root=odd_images.parent, names=names, labels=(0,) * len(names), classes=ClassMap(("odd", "even"))
    )


@pytest.fixture
def directory(two_classes: Path) -> Path:
    """48 images of two classes."""
    return two_classes / "train"
