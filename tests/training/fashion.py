"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017) as a folder of PNG files, read from Debian's package."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

PACKAGE = "dataset-fashion-mnist"
DIR = Path("/usr/share/datasets/fashion-mnist")

# In the order of the labels 0 to 9.
NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Reads a gzipped IDX file of bytes: two zeros, the type 8, the number of dimensions, the dimensions."""
    content = gzip.decompress(path.read_bytes())
    assert content[:3] == b"\0\0\x08"
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def write_fashion(root: Path, train: int, val: int, test: int) -> None:
    """Writes the first `train` training images, the next `val`, and the first `test` test images."""
    images, labels = (read_idx(DIR / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    _write(root / "train", images[:train], labels[:train])
    _write(root / "val", images[train : train + val], labels[train : train + val])
    images, labels = (read_idx(DIR / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    _write(root / "test", images[:test], labels[:test])


def _write(directory: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> None:
    """Writes 28 x 28 grey images, one folder a class."""
    for name in NAMES:
        (directory / name).mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(directory / NAMES[label] / f"{number:05d}.png", compress_level=1)
