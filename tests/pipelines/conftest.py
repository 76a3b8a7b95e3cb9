"""The odd pictures as a list."""

from __future__ import annotations

from pathlib import Path

import pytest

from alexnet_fast.data import ClassMap, PictureList


@pytest.fixture
def odd_list(odd_pictures: Path) -> PictureList:
    """The odd pictures as one list."""
    names = tuple(sorted(f"odd/{file.name}" for file in odd_pictures.iterdir()))
    return PictureList(
        root=odd_pictures.parent, names=names, labels=(0,) * len(names), classes=ClassMap(("odd", "even"))
    )


@pytest.fixture
def folder(two_classes: Path) -> Path:
    """48 pictures of two classes."""
    return two_classes / "train"
