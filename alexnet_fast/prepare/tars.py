"""Tars as a source: WebDataset shards, or a tar of class folders, compressed or not."""

from __future__ import annotations

import collections
import logging
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.find_splits import split_dirs
from alexnet_fast.data.image_folder import class_dirs
from alexnet_fast.data.image_list import IMAGE_EXTENSIONS, TarLocation
from alexnet_fast.data.image_names import junk_reason
from alexnet_fast.data.shard_fields import (
    DEFAULT_FIELDS,
    LONGEST_LABEL_BYTES,
    ShardFields,
    field_name,
    number_names,
    read_label,
)
from alexnet_fast.data.shard_files import beside_tars, by_split, in_shard, shards_in, split_of_tar
from alexnet_fast.data.tar_members import A_DIR, forbidden_kind, safe_name, tar_members
from alexnet_fast.data.webdataset import TarSample, field_reason, read_shard
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.archives import list_archive
from alexnet_fast.prepare.plain_tars import plain_tar
from alexnet_fast.prepare.source_image import Location, NoLocation, SourceImage

_log = logging.getLogger("alexnet_fast")

# Members of a tar that are looked at to recognise its kind: a sample's members stand together.
_FIRST = 256


def list_tar(path: Path, ignored: Ignored, fields: ShardFields, limit: int) -> list[SourceImage]:
    """Lists a tar: of class folders, or a WebDataset shard.

    Args:
        path: The tar.
        ignored: Receives the members that are not used.
        fields: The fields of a shard's samples that are image and label.
        limit: Maximum bytes in a compressed tar.

    Raises:
        UserError: The tar cannot be read, or a member's name leads out of it.
    """
    plain = plain_tar(path, limit)
    if is_webdataset(plain, fields):
        return list_webdataset({split_of_tar(path): [plain]}, ignored, fields)
    return list_archive(path, _members(plain), ignored)


def list_shards(root: Path, ignored: Ignored, fields: ShardFields, limit: int) -> list[SourceImage]:
    """Lists the shards of a folder, or of its folders train/, val/ and test/; see `list_tar`.

    Raises:
        UserError: A shard cannot be used, or belongs to no split although others do.
    """
    tars = shards_in(root, compressed=True)
    splits = by_split(root, tars) if tars else {}
    if tars:
        beside_tars(root, ignored, compressed=True)
    else:
        for split, directory in split_dirs(root, class_dirs(root, ignored)).items():
            splits[split] = tuple(shards_in(root / directory, compressed=True))
            beside_tars(root / directory, ignored, compressed=True)
    plain = {
        "" if split == "all" else split: [plain_tar(tar, limit) for tar in subset]
        for split, subset in splits.items()
    }
    return list_webdataset(plain, ignored, fields)


def _members(path: Path) -> Iterator[tuple[str, Location]]:
    """Yields name and location of each member of a tar that is no folder."""
    for member in tar_members(path, lambda what: _log.warning("%s", what)):
        if not member.isdir():
            yield member.name, _member_location(path, member)


def _member_location(path: Path, member: tarfile.TarInfo) -> Location:
    """Returns the location of a member's bytes."""
    reason = forbidden_kind(member)
    if reason is not None:
        return NoLocation(str(path), reason)
    return TarLocation(str(path), member.offset_data, member.size)


def is_webdataset(path: Path, fields: ShardFields = DEFAULT_FIELDS) -> bool:
    """Returns whether the first members are those of samples: a `.cls`, or an image and a JSON with a label.

    Args:
        path: A tar.
        fields: Any but the default fields mean that it holds samples.

    Raises:
        UserError: The file is no tar.
    """
    if fields != DEFAULT_FIELDS:
        return True
    images = set(fields.images(IMAGE_EXTENSIONS))
    seen: dict[str, dict[str, tarfile.TarInfo]] = collections.defaultdict(dict)
    for _, member in zip(range(_FIRST), tar_members(path), strict=False):
        name = safe_name(path, member.name)
        parsed = field_name(name)
        if parsed is None or junk_reason(name) or not member.isreg():
            continue
        if parsed.field == "cls":
            return True
        seen[parsed.key][parsed.field] = member
    both = (sample["json"] for sample in seen.values() if "json" in sample and images & sample.keys())
    first = next(both, None)
    return first is not None and _labels(path, first)


def _labels(path: Path, member: tarfile.TarInfo) -> bool:
    """Returns whether a JSON holds a label, or a wrong one."""
    with path.open("rb") as content:
        content.seek(member.offset_data)
        try:
            return (
                read_label(content.read(min(member.size, LONGEST_LABEL_BYTES)), "json", member.name)
                is not None
            )
        except UserError:
            return True


def list_webdataset(
    splits: Mapping[str, Sequence[Path]], ignored: Ignored, fields: ShardFields = DEFAULT_FIELDS
) -> list[SourceImage]:
    """Lists the samples of shards.

    Classes given as numbers become folders of numbers with leading zeros, whose sorted order is the numbers'
    order. A name that several shards of a split have gets
    the shard's name in front.

    Args:
        splits: Tars by split; "" for those that belong to none.
        ignored: Receives the members that are not used.
        fields: The fields that are a sample's image and label.

    Raises:
        UserError: A sample lacks its label or its image, or cannot be used for another reason.
    """
    samples: list[tuple[str, Path, TarSample]] = []
    for split, tars in splits.items():
        for tar in tars:
            samples += [(split, tar, sample) for sample in _read(tar, ignored, fields)]
    called = number_names({sample.label for _, _, sample in samples})
    counts = collections.Counter((split, called[sample.label], sample.name) for split, _, sample in samples)
    images = []
    for split, tar, sample in samples:
        label = called[sample.label]
        rest = sample.name if counts[split, label, sample.name] == 1 else in_shard(tar, sample.name)
        images.append(SourceImage(split, label, rest, TarLocation(str(tar), sample.offset, sample.size)))
    return images


def _read(tar: Path, ignored: Ignored, fields: ShardFields) -> list[TarSample]:
    """Returns the samples of one shard."""
    contents = read_shard(tar, IMAGE_EXTENSIONS, fields)
    contents.raise_problems(tar)
    for warning in contents.warnings:
        _log.warning("%s", warning)
    for name, reason in contents.ignored:
        if reason != A_DIR:
            ignored.add(f"{tar.name}/{name}", reason)
    ignored.add_counts({field_reason(field): count for field, count in contents.other.items()})
    return contents.samples
