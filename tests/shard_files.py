"""Tars of labelled images, good and odd ones."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from alexnet_fast.data import ShardFields
from alexnet_fast.data.shard_contents import read_contents

Member = tuple[str, bytes | tarfile.TarInfo]


def _jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 100, 50)).save(file, "JPEG")
    return file.getvalue()


JPEG = _jpeg()


def write_shard(path: Path, members: Iterable[Member], **how: int) -> Path:
    """Writes a tar whose members may have one name twice.

    Args:
        path: The tar.
        members: Name and content, or what a TarInfo says.
        how: Options of `tarfile.open`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **how) as archive:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def samples(labels: str = "0101", *, first: int = 0, image: str = "jpg", label: str = "cls") -> list[Member]:
    """Returns a sample for each letter of `labels`, which is its label."""
    found: list[Member] = []
    for number, letter in enumerate(labels, first):
        found += [(f"{number:04d}.{image}", JPEG), (f"{number:04d}.{label}", letter.encode())]
    return found


def listed(directory: Path, members: list[Member], fields: ShardFields | None = None) -> dict[str, str]:
    """Returns the label of each image of one shard."""
    tar = write_shard(directory / "a.tar", members)
    found = read_contents(directory, [tar], fields or ShardFields())
    return {name: found.classes[label] for name, label in zip(found.names, found.labels, strict=True)}
