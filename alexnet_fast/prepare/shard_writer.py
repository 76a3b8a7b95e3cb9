"""WebDataset shards with the index files of DALI's reader.

Their bytes depend on the images alone: no times, no owners, a fixed order. The index is written along with
the tar; NVIDIA's `wds2idx` writes the same one afterwards, by reading the tar again. A table beside it says
what training must know besides.
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet_fast.data.image_list import ARRAY_SUFFIX, StringArray
from alexnet_fast.data.shard_table import TABLE_SUFFIX, ShardTable
from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.prepare.partition import Partition
from alexnet_fast.scan.inspect import read_header

# Unit of a tar. A sample takes two headers, a class and an image, each rounded up to blocks.
_BLOCK = 512
_SHARD = re.compile(r"(train|val|test|all)-(\d+of\d+-)?\d{6}\.(tar|idx|npz)")


class ShardSample(NamedTuple):
    """A prepared image to be packed.

    Args:
        key: Unique name without a dot.
        split: "train", "val", "test", or "all".
        label: Class index.
        target: What the file is called in class folders: CLASS/..., below the split.
        file: The prepared file.
        order: What samples are sorted by.
    """

    key: str
    split: str
    label: int
    target: str
    file: Path
    order: bytes


def make_sample(number: int, name: str, split: str, label: int, target: str, file: Path) -> ShardSample:
    """Returns the sample of an image.

    The order is by a hash of the name: neighbours in a shard are then of different classes, which matters
    because a reader of shards shuffles within a buffer.

    Args:
        number: Position in the list of all images, which becomes the key.
        name: Its name in that list.
        split: "train", "val" or "test"; empty where the source is not divided.
        label: Class index.
        target: Its name in the output as class folders.
        file: The prepared file.
    """
    below = target.removeprefix(f"{split}/") if split else target
    order = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return ShardSample(f"{number:08d}", split or "all", label, below, file, order)


def is_shard(name: str) -> bool:
    """Returns whether a file of this name is one that `write_shards` may have written."""
    return _SHARD.fullmatch(name) is not None


def write_shards(
    samples: Sequence[ShardSample], directory: Path, work: Path, *, mebibytes: int, partition: Partition
) -> tuple[tuple[str, int], ...]:
    """Packs samples into PART-000000.tar, ... each with its .idx, each moved into its place when it is whole.

    Args:
        samples: What to pack.
        directory: Where the shards go; those of an earlier run of this partition are removed.
        work: Folder for unfinished files, on the same file system.
        mebibytes: Most of one shard, but one image always fits.
        partition: Its numbers are in the names where there are several.

    Returns:
        (name, number of images) of each tar, sorted.

    Raises:
        UserError: They cannot be written.
    """
    infix = "" if partition.whole else f"{partition.index}of{partition.count}-"
    for old in directory.iterdir():
        if is_shard(old.name) and (partition.whole or f"-{infix}" in old.name):
            old.unlink()
    written = []
    try:
        for split in sorted({sample.split for sample in samples}):
            mine = sorted(
                (s for s in samples if s.split == split), key=lambda sample: (sample.order, sample.key)
            )
            for number, group in enumerate(_groups(mine, mebibytes << 20)):
                name = f"{split}-{infix}{number:06d}"
                _write_one(group, directory, work, name)
                written.append((f"{name}.tar", len(group)))
    except OSError as error:
        raise UserError(
            f"cannot write shards in {directory}: {system_reason(error)}", "check the folder and the disk"
        ) from error
    return tuple(sorted(written))


def _groups(samples: Sequence[ShardSample], limit: int) -> Iterator[list[ShardSample]]:
    """Yields the samples of each shard, filled one after the other."""
    group: list[ShardSample] = []
    size = 0
    for sample in samples:
        takes = 3 * _BLOCK + _padded(sample.file.stat().st_size)
        # A tar ends in zeros up to a multiple of its record.
        if group and size + takes > limit - tarfile.RECORDSIZE:
            yield group
            group, size = [], 0
        group.append(sample)
        size += takes
    if group:
        yield group


def _write_one(samples: Sequence[ShardSample], directory: Path, work: Path, name: str) -> None:
    """Writes a tar, its index and its table; a tar that is in its place has both."""
    # The index: "v1.2 N", then a line a sample of extension, offset, size and name of each member,
    # https://docs.nvidia.com/deeplearning/dali/user-guide/docs/examples/general/data_loading/dataloading_webdataset.html
    lines = [f"v1.2 {len(samples)}"]
    offsets, lengths, sizes = [], [], []
    with tarfile.open(work / f"{name}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for sample in samples:
            content = sample.file.read_bytes()
            offsets.append(archive.offset + _BLOCK)
            lengths.append(len(content))
            sizes.append(_size(sample.file.suffix, content))
            members = ((sample.file.suffix[1:], content), ("cls", str(sample.label).encode("ascii")))
            lines.append(" ".join(_add(archive, sample.key, suffix, body) for suffix, body in members))
    (work / f"{name}.idx").write_text("\n".join(lines) + "\n", encoding="ascii")
    table = ShardTable(
        tar_bytes=(work / f"{name}.tar").stat().st_size,
        names=StringArray.of(sample.target for sample in samples),
        labels=np.array([sample.label for sample in samples], np.int64),
        offsets=np.array(offsets, np.int64),
        lengths=np.array(lengths, np.int64),
        sizes=np.array(sizes, np.int32),
    )
    with (work / f"{name}{TABLE_SUFFIX}").open("wb") as file:
        table.save(file)
    for suffix in (".idx", TABLE_SUFFIX, ".tar"):
        (work / f"{name}{suffix}").replace(directory / f"{name}{suffix}")


def _size(suffix: str, content: bytes) -> tuple[int, int]:
    """Returns height and width of a prepared file; those that are copied as they are lie upright."""
    if suffix == ARRAY_SUFFIX:
        height, width, _ = np.load(io.BytesIO(content), allow_pickle=False).shape
        return height, width
    header = read_header(content)
    return header.height, header.width


def _add(archive: tarfile.TarFile, key: str, suffix: str, content: bytes) -> str:
    """Adds a member that looks alike wherever it is made; returns its words in the index."""
    member = tarfile.TarInfo(f"{key}.{suffix}")
    member.size = len(content)
    offset = archive.offset + _BLOCK
    archive.addfile(member, io.BytesIO(content))
    return f"{suffix} {offset} {len(content)} {member.name}"


def _padded(size: int) -> int:
    """Returns a size rounded up to whole blocks."""
    return -(-size // _BLOCK) * _BLOCK
