"""WebDataset shards: tars of `key.jpg` and `key.cls`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from alexnet_fast.errors import UserError
from alexnet_fast.preparing.archives import safe_name, tar_members
from alexnet_fast.preparing.places import Place, TarPlace
from alexnet_fast.preparing.sources import PARTS, SourcePicture, check_class, is_picture
from alexnet_fast.scanning.header import FILE_BYTES_LIMIT

_LONGEST_CLASS = 1024


class _Sample(NamedTuple):
    """One sample of a shard, before the classes of all are known."""

    part: str
    label: str
    picture: str
    place: Place


def is_webdataset(path: Path) -> bool:
    """Tells whether one of the first members is a class; a sample's members stand together."""
    return any(
        PurePosixPath(member.name).suffix == ".cls"
        for _, member in zip(range(64), tar_members(path), strict=False)
    )


def list_webdataset(tars: list[Path]) -> list[SourcePicture]:
    """Lists the samples of shards.

    A shard called train-..., val-... or test-... belongs to that part. Classes given as numbers become
    folders of numbers with leading zeros, whose sorted order is the numbers' order.

    Raises:
        UserError: A sample lacks its class or its picture.
    """
    samples = [sample for path in tars for sample in _samples(path)]
    width = 0
    if all(sample.label.isascii() and sample.label.isdigit() for sample in samples):
        width = max((len(str(int(sample.label))) for sample in samples), default=0)
    return [
        SourcePicture(
            sample.part,
            str(int(sample.label)).zfill(width) if width else sample.label,
            sample.picture,
            sample.place,
        )
        for sample in samples
    ]


def _samples(path: Path) -> Iterator[_Sample]:
    """Yields the samples of one shard."""
    pictures: dict[str, tuple[str, Place]] = {}
    labels: dict[str, str] = {}
    for member in tar_members(path):
        name = safe_name(path, member.name)
        folder, _, file = name.rpartition("/")
        key = f"{folder}/{file.partition('.')[0]}".lstrip("/")
        if not member.isreg() or member.issparse() or member.size > FILE_BYTES_LIMIT:
            continue
        place = TarPlace(str(path), member.offset_data, member.size)
        if name.endswith(".cls"):
            labels[key] = _label(path, name, place)
        elif is_picture(name):
            pictures[key] = (name, place)
    lonely = sorted(labels.keys() ^ pictures.keys())
    if lonely:
        lacks = "class" if lonely[0] in pictures else "picture"
        raise UserError(f"sample {lonely[0]} in {path} has no {lacks}", "each needs KEY.jpg and KEY.cls")
    match = re.match("(" + "|".join(PARTS) + ")(?![a-z])", path.name)
    part = match.group(1) if match else ""
    for key, (name, where) in pictures.items():
        yield _Sample(part, labels[key], name, where)


def _label(path: Path, name: str, place: TarPlace) -> str:
    """Reads a class."""
    if place.size > _LONGEST_CLASS:
        raise UserError(f"{name} in {path} is too long for a class", "it holds a number or a name")
    text = place.read().decode("utf-8", "replace").strip() if place.size else ""
    return check_class(text, f"{name} in {path}")
