"""Loads a folder in large batches with unparsable files among them; runs in its own process, which may die.

    python bad_batches.py FOLDER SIZE...

FOLDER holds good-*.jpg and any bad-* files. Prints nothing; ends with an error where a loader dropped a good
file, took a bad one, or gave one without a reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alexnet_fast.data import ClassMap, ImageList
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines import AugmentSpec, ImageLoader
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler

SPEC = AugmentSpec(resize=32, crop=24)


def main(directory: Path, sizes: list[int]) -> None:
    """Runs the batch sizes, both policies, first and later epochs, both ways in."""
    names = sorted(file.name for file in directory.iterdir())
    images = ImageList(root=directory, names=names, labels=[0] * len(names), classes=ClassMap(("x", "y")))
    bad = {images.path(i) for i, name in enumerate(names) if name.startswith("bad")}
    for size in sizes:
        skipped(images, bad, size)
        failed(images, size)
        replaced(images, directory, size)
    loader = ImageLoader(
        images, train=False, batch_size=sizes[0], spec=SPEC, on_bad_image="skip", device="cpu"
    )
    for _ in range(2):
        assert sum(len(labels) for _, labels in loader) == len(images) - len(bad)
    assert set(loader.bad_images.reasons) == bad


def loader_of(images: ImageList, size: int, policy: str):
    """Makes a loader of shuffled batches."""
    sampler = EpochSampler(num_images=len(images), batch_size=size, shuffle=True, drop_last=False)
    config = LoaderConfig(workers=2 + size // 64, on_bad_image=policy)
    return make_loader(images, SPEC, "train", sampler, config)


def skipped(images: ImageList, bad: set[str], size: int) -> None:
    """Checks that each epoch has every good file, and that every bad one is named with a reason."""
    loader = loader_of(images, size, "skip")
    for epoch in range(2):
        used = [int(index) for batch in loader.epoch(epoch) for index in batch.indices]
        assert sorted(used) == [i for i in range(len(images)) if images.path(i) not in bad]
    assert set(loader.bad.reasons) == bad
    assert all(loader.bad.reasons.values())


def failed(images: ImageList, size: int) -> None:
    """Checks that the first bad file ends the work with its name."""
    with pytest.raises(UserError, match="cannot decode .*bad-.*: ."):
        list(loader_of(images, size, "fail").epoch(0))


def replaced(images: ImageList, directory: Path, size: int) -> None:
    """Checks files that are good in the first epoch, and garbage or of another size in the second."""
    loader = loader_of(images, size, "skip")
    list(loader.epoch(0))
    victim, smaller, other = (directory / f"good-{number:03d}.jpg" for number in (7, 8, 9))
    kept = {file: file.read_bytes() for file in (victim, smaller)}
    victim.write_bytes(b"garbage")
    smaller.write_bytes(other.read_bytes())
    list(loader.epoch(1))
    assert str(victim) in loader.bad.reasons
    assert str(smaller) not in loader.bad.reasons
    for file, content in kept.items():
        file.write_bytes(content)


if __name__ == "__main__":
    main(Path(sys.argv[1]), list(map(int, sys.argv[2:])))
