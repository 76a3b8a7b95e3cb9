"""The C++ library, built and installed as a user would, and a small exported model with its manifest."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from installed import Built
from PIL import Image
from torch import nn

from alexnet_fast.export.config import EngineConfig
from alexnet_fast.export.onnx.model import build_model, write_model
from alexnet_fast.export.tensorrt.engine import build_engine
from alexnet_fast.export.tensorrt.library import choose_library
from alexnet_fast.pipelines.cpu.pillow import centre_square
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.runtime.versions import installed_version
from sharpened import sharpen

SPEC = AugmentSpec(resize=43, crop=32, std=(50.0, 60.0, 70.0))


@pytest.fixture(scope="session")
def openvino_cmake() -> Path:
    """The folder of OpenVINO's CMake files."""
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("needs pip install openvino")
    # In a process of its own: OpenVINO in one that has run DALI pipelines crashed it.
    words = [sys.executable, "-c", "import openvino.utils; print(openvino.utils.get_cmake_path())"]
    return Path(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())


@pytest.fixture(scope="session")
def built(openvino_cmake: Path) -> Built:
    return Built("cpp", openvino_cmake)


@pytest.fixture(scope="session")
def sanitized(openvino_cmake: Path) -> Built:
    return Built("sanitized", openvino_cmake, "address,undefined")


def small_net(squares_nhwc: np.ndarray) -> nn.Sequential:
    """A network with every exportable kind of layer, whose answers differ between images."""
    torch.manual_seed(1)
    layers = (
        nn.Conv2d(3, 16, 5, 2, 2),
        nn.ReLU(),
        nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(16, 24, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(24 * 3 * 3, 7),
    )
    names = ("conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "pool2", "flatten", "fc3")
    net = nn.Sequential()
    for name, layer in zip(names, layers, strict=True):
        net.add_module(name, layer)
    return sharpen(net, squares_nhwc, SPEC).eval()


@pytest.fixture(scope="session")
def make_net() -> Callable[[np.ndarray], tuple[nn.Sequential, AugmentSpec]]:
    return lambda squares: (small_net(squares), SPEC)


@pytest.fixture(scope="session")
def model(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.onnx with the engine that TensorRT-RTX built from it, and the manifest of both."""
    if installed_version("tensorrt_rtx") is None:
        pytest.skip("needs pip install 'alexnet-fast[rtx]'")
    directory = tmp_path_factory.mktemp("model")
    squares = np.stack([centre_square(tile, SPEC) for tile in tiles(photographs)])
    metadata = GraphMetadata(
        classes=("ant", "bee", "café, noir", "dog", "eel", "fox", "gnu"),
        spec=SPEC,
        model="small",
        crops="ten",
        version="1.2.3",
        provenance={},
    )
    write_model(build_model(small_net(squares), metadata), directory / "model.onnx")
    build_engine(directory / "model.onnx", directory / "model.engine", choose_library(["86"]), EngineConfig())
    return directory / "model.onnx"


def tiles(photographs: list[Image.Image]) -> list[Image.Image]:
    """100 different parts of the photographs, each of another size."""
    parts = []
    for number in range(100):
        photograph = photographs[number % 2]
        left, top = number * 5, number * 2
        parts.append(photograph.crop((left, top, left + 60 + number, top + 160 - number)))
    return parts


@pytest.fixture(scope="session")
def hundred(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """100 JPEG files: parts of photographs, of every chroma, grey, CMYK, progressive and orientation."""
    directory = tmp_path_factory.mktemp("hundred")
    files = []
    for number, tile in enumerate(tiles(photographs)):
        options: dict[str, object] = {"quality": 50 + number // 2, "subsampling": number % 3}
        if number % 5 == 0:
            exif = Image.Exif()
            exif[0x0112] = number // 5 % 10
            options["exif"] = exif
        mode = {3: "L", 7: "CMYK"}.get(number % 10, "RGB")
        if mode != "RGB":
            del options["subsampling"]
        files.append(directory / f"{number}.jpg")
        tile.convert(mode).save(files[-1], progressive=number % 4 == 1, **options)
    return files
