"""Lays out data sets of a million images that are links to a few.

    python -m benchmarks.synthetic_dataset IMAGES OUT [NUMBER [CLASSES]]

makes OUT/folders (hard links in class folders) and OUT/shards (hard links to one tar, each with a table).
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from pathlib import Path

import numpy as np

from alexnet_fast.data.image_list import StringArray
from alexnet_fast.data.shard_table import TABLE_SUFFIX, ShardTable
from alexnet_fast.prepare.partition import Partition
from alexnet_fast.prepare.shard_writer import make_sample, write_shards

# ILSVRC 2012.
IMAGENET_IMAGES, IMAGENET_CLASSES = 1_281_167, 1000
_SHARD_IMAGES = 5000


def lay_out_dirs(files: list[Path], out: Path, images: int, classes: int) -> None:
    """Links `images` names in `classes` class folders to a few files, as evenly as possible."""
    for label in range(classes):
        directory = out / f"n{label:08d}"
        directory.mkdir(parents=True)
        for number in range(label, images, classes):
            os.link(files[number % len(files)], directory / f"n{label:08d}_{number}.JPEG")


def lay_out_shards(files: list[Path], out: Path, images: int, classes: int) -> None:
    """Links tars to one, each with a table whose names and classes are those of `lay_out_dirs`."""
    out.mkdir(parents=True)
    work = out / "work"
    work.mkdir()
    count = min(_SHARD_IMAGES, images)
    samples = [
        make_sample(number, str(number), "", 0, f"{number}.jpg", file)
        for number, file in enumerate(itertools.islice(itertools.cycle(files), count))
    ]
    write_shards(samples, out, work, mebibytes=1 << 20, partition=Partition())
    work.rmdir()
    first = out / "all-000000.tar"
    table = ShardTable.load(first)
    assert table is not None
    for shard, begin in enumerate(range(0, images, count)):
        numbers = range(begin, min(begin + count, images))
        target = out / f"all-{shard:06d}.tar"
        if shard:
            os.link(first, target)
        mine = ShardTable(
            tar_bytes=table.tar_bytes,
            names=StringArray.of(f"n{n % classes:08d}/n{n % classes:08d}_{n}.jpg" for n in numbers),
            labels=np.array([n % classes for n in numbers], np.int64),
            offsets=table.offsets[: len(numbers)],
            lengths=table.lengths[: len(numbers)],
            sizes=table.sizes[: len(numbers)],
        )
        with target.with_suffix(TABLE_SUFFIX).open("wb") as file:
            mine.save(file)
    names = [f"n{label:08d}" for label in range(classes)]
    (out / "prepared.json").write_text(json.dumps({"classes": names}))


if __name__ == "__main__":
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    numbers = [int(word) for word in sys.argv[3:]]
    size = (numbers or [IMAGENET_IMAGES])[0], (numbers[1:] or [IMAGENET_CLASSES])[0]
    found = sorted(source.rglob("*.jpg"))
    lay_out_dirs(found, out / "folders", *size)
    lay_out_shards(found, out / "shards", *size)
