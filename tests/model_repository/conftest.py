"""A small model, and images for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

# The server's tests have the same needs.
sys.path.append(str(Path(__file__).parents[1] / "serve"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from small_model import make_model

    return make_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="session")
def images(photographs: list[Image.Image]) -> list[bytes]:
    """Encoded images of different sizes and formats."""
    from small_model import encoded

    china, flower = photographs
    return [
        encoded(china, "JPEG"),
        encoded(flower.resize((99, 70)), "JPEG", progressive=True),
        encoded(china.convert("L"), "JPEG"),
        encoded(flower.resize((64, 64)), "PNG"),
        encoded(china.resize((200, 90)), "WEBP", lossless=True),
    ]
