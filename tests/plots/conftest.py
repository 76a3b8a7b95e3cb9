"""Made-up epochs, a folder of small images, and the pixels of a PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.data import ClassMap, list_images
from alexnet_fast.training.metrics import EpochMetrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from alexnet_fast.data import ImageList

# Names that would be markup, mathematics, several lines or nothing at all if they were taken at their word.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://x onerror="a()">',
    r"$\frac{a}$",
    "a\n\tb\x00\u202e",
    "",
)


def epoch_rows(count: int) -> list[EpochMetrics]:
    return [
        EpochMetrics(
            epoch=epoch,
            step=10 * epoch,
            lr=0.01 if epoch <= 3 else 0.001,
            train_loss=1 / epoch,
            train_top1=1 - 0.5 / epoch,
            val_loss=1.2 / epoch,
            val_top1=0.9 if epoch == 4 else 0.5 + epoch / 100,
            val_top5=1.0,
            images_per_second=100.0,
            data_wait=0.25,
            seconds=1.0,
            bad_images=0,
        )
        for epoch in range(1, count + 1)
    ]


def noise_image(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png_pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="session")
def rows() -> Callable[[int], list[EpochMetrics]]:
    return epoch_rows


@pytest.fixture(scope="session")
def noise() -> Callable[[int, int, int], np.ndarray]:
    return noise_image


@pytest.fixture(scope="session")
def pixels_of() -> Callable[[bytes], np.ndarray]:
    return png_pixels


@pytest.fixture(scope="session")
def hostile() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of two images, 72 pixels high, lossless."""
    root = tmp_path_factory.mktemp("images")
    for seed, name in enumerate(("ant/1.png", "ant/2.png", "bee/1.png", "bee/2.png")):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise_image(72, 72 + 9 * seed, seed)).save(path)
    return root


@pytest.fixture(scope="session")
def listed(directory: Path) -> ImageList:
    return list_images(directory, ClassMap(("ant", "bee")))
