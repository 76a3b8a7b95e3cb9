"""One small model, a server of it, and images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast import Predictor
from running_server import RunningServer, running
from small_model import encoded, make_model


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported ten-crop model of 64-pixel images."""
    return make_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="session")
def server(model_file: Path) -> Iterator[RunningServer]:
    """A server of the small model under the name "small"."""
    with running(model_file, "--name", "small", "--threads", 1) as started:
        yield started


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    """uint8 (5, 64, 64, 3)."""
    return np.random.default_rng(5).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def jpegs(photographs: list[Image.Image]) -> list[bytes]:
    """Two photographs as JPEG."""
    return [encoded(photograph, "JPEG", quality=90) for photograph in photographs]


@pytest.fixture(scope="session")
def reference(model_file: Path) -> Predictor:
    """The same model without a server."""
    return Predictor(model_file)
