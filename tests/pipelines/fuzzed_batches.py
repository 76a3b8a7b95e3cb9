"""Loads mutated images in batches of 128; runs in its own process, which may die.

    python fuzzed_batches.py FOLDER SEED ROUNDS BATCHES

Each round is one loader over BATCHES batches, of another view, with 2 to 8 threads. Its files are written to
FOLDER/SEED, whose name says which round it was that died, and removed when it is over. Prints counts as its
last line.
"""

from __future__ import annotations

import collections
import json
import logging
import shutil
import sys
from pathlib import Path

from alexnet_fast.data import ClassMap, ImageList
from alexnet_fast.pipelines import AugmentSpec
from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.io import image_at
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from fuzzed_images import mutated

BATCH = 128
SPEC = AugmentSpec(resize=32, crop=24)
VIEWS = ("train", "eval", "square")


def main(directory: Path, seed: int, rounds: int, batches: int) -> None:
    """Runs the rounds."""
    logging.getLogger("alexnet_fast").setLevel(logging.ERROR)
    counts: collections.Counter[str] = collections.Counter()
    for number in range(seed, seed + rounds):
        images = written(directory / str(number), number, batches * BATCH)
        counts += one_round(images, number)
        shutil.rmtree(images.root)
    print(json.dumps(counts))


def written(directory: Path, seed: int, count: int) -> ImageList:
    """Writes the files of a round."""
    directory.mkdir(parents=True)
    names = []
    for number in range(count):
        suffix, content = mutated(seed, number)
        names.append(f"{number:05}.{suffix}")
        (directory / names[-1]).write_bytes(content)
    return ImageList(root=directory, names=names, labels=[0] * count, classes=ClassMap(("x", "y")))


def one_round(images: ImageList, seed: int) -> collections.Counter[str]:
    """Checks that each file of a round is used or named, and that none that Pillow decodes is lost."""
    sampler = EpochSampler(num_images=len(images), batch_size=BATCH, shuffle=True, seed=seed)
    config = LoaderConfig(workers=2 + seed % 7, on_bad_image="skip")
    loader = make_loader(images, SPEC, VIEWS[seed % len(VIEWS)], sampler, config)
    used = {int(index) for batch in loader.epoch(seed) for index in batch.indices}
    lost = {images.path(index) for index in range(len(images)) if index not in used}
    assert lost == set(loader.bad.reasons), lost ^ set(loader.bad.reasons)
    assert all(loader.bad.reasons.values())
    fine = {index for index in range(len(images)) if decodes(images, index)}
    refused = {images.path(index) for index in fine - used}
    # Pillow decodes some whose shorter side cannot be resized; those are named with their sizes.
    unjust = {path for path in refused if "would be" not in loader.bad.reasons[path]}
    assert not unjust, {path: loader.bad.reasons[path] for path in unjust}
    return collections.Counter(
        files=len(images), used=len(used), named=len(lost), pillow_refuses=len(used - fine)
    )


def decodes(images: ImageList, index: int) -> bool:
    """Returns whether Pillow decodes an image."""
    try:
        image_at(images, index, SPEC.background)
    except BadImageError:
        return False
    return True


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
