"""The kind of a path, at a glance: a run, a file of weights, an image, a folder of images."""

from __future__ import annotations

import enum
import itertools
import os
from collections.abc import Iterator
from pathlib import Path


class Kind(enum.Enum):
    """Kinds of paths; the value is for use in a sentence."""

    RUN = "a run"
    EXPORTED_RUN = "an exported run"
    WEIGHTS = "a file of weights"
    ONNX = "an ONNX file"
    ENGINE = "a TensorRT engine"
    EXPORT = "a folder with an exported model"
    IMAGE = "an image"
    DATA = "a folder of images"
    ARCHIVE = "an archive"
    CONFIG = "a file of options"
    TABLE = "a table"
    EMPTY = "an empty folder"
    MISSING = "not there"
    UNKNOWN = "something else"


_BY_SUFFIX = {
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors", ".caffemodel", ".npy"), Kind.WEIGHTS),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff"), Kind.IMAGE),
    **dict.fromkeys((".pgm", ".pbm", ".pnm", ".jpe", ".jfif", ".gif", ".heic", ".avif"), Kind.IMAGE),
    **dict.fromkeys((".tar", ".zip", ".tgz", ".gz", ".xz", ".bz2", ".zst"), Kind.ARCHIVE),
    ".onnx": Kind.ONNX,
    ".engine": Kind.ENGINE,
    ".toml": Kind.CONFIG,
    ".csv": Kind.TABLE,
    ".json": Kind.TABLE,
}
# First bytes of images without a suffix.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*")
# Entries of a folder that are read; the largest folders are not read whole.
_LOOKED_AT = 200


def kind_of(path: Path) -> Kind:
    """Returns the kind of a path; `UNKNOWN` if it is not certain."""
    try:
        if path.is_dir():
            return _dir(path)
        if not os.path.lexists(path):
            return Kind.MISSING
        if not path.is_file():
            return Kind.UNKNOWN
        return _BY_SUFFIX.get(path.suffix.lower()) or _by_content(path)
    except OSError:
        return Kind.UNKNOWN


def _by_content(path: Path) -> Kind:
    with path.open("rb") as file:
        start = file.read(12)
    webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return Kind.IMAGE if webp or start.startswith(_SIGNATURES) else Kind.UNKNOWN


def _dir(path: Path) -> Kind:
    if (path / "config.toml").is_file() and (path / "checkpoints").is_dir():
        return Kind.EXPORTED_RUN if (path / "model.onnx").is_file() else Kind.RUN
    if (path / "metrics.csv").is_file():
        # What is left of a run: its curves can be drawn, and its images are plots.
        return Kind.UNKNOWN
    entries = list(_entries(path))
    if not entries:
        return Kind.EMPTY
    images = _has_images(entries, depth=3)
    if (path / "model.onnx").is_file() or _has_versions(path):
        return Kind.UNKNOWN if images else Kind.EXPORT
    return Kind.DATA if images else Kind.UNKNOWN


def _has_versions(path: Path) -> bool:
    """Returns whether a folder holds numbered versions of a model."""
    return any(e.name.isdecimal() and (path / e.name / "model.onnx").is_file() for e in _entries(path))


def _entries(path: str | Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        yield from itertools.islice((e for e in entries if not e.name.startswith(".")), _LOOKED_AT)


def _has_images(entries: list[os.DirEntry[str]], depth: int) -> bool:
    """Returns whether entries hold images, shards or folders of them."""
    directories = []
    for entry in entries:
        if entry.is_dir():
            directories.append(entry)
        elif entry.name.endswith(".tar") or _BY_SUFFIX.get(Path(entry.name).suffix.lower()) is Kind.IMAGE:
            return True
    # The first folders represent all: class folders, or train/ and val/ with class folders.
    return depth > 1 and any(_has_images(list(_entries(d.path)), depth - 1) for d in directories[:3])
