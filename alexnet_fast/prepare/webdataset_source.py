"""WebDataset shards as a source."""

from __future__ import annotations

import collections
import logging
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.image_list import TarLocation
from alexnet_fast.data.junk import junk_reason
from alexnet_fast.data.shard_fields import (
    DEFAULT_FIELDS,
    LONGEST_LABEL_BYTES,
    ShardFields,
    field_name,
    number_names,
    read_label,
)
from alexnet_fast.data.shard_files import in_shard
from alexnet_fast.data.shard_notes import field_reason
from alexnet_fast.data.tar_members import A_DIR, safe_name, tar_members
from alexnet_fast.data.webdataset import TarSample, read_shard
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.source_image import SOURCE_EXTENSIONS, SourceImage

_log = logging.getLogger("alexnet_fast")

# Members of a tar that are looked at to tell what it is: a sample's members stand together.
_FIRST = 256


def is_webdataset(path: Path, fields: ShardFields = DEFAULT_FIELDS) -> bool:
    """Tells whether the first members are those of samples: a `.cls`, or an image and a JSON with a label.

    Args:
        path: A tar.
        fields: Who chooses fields says that it holds samples.

    Raises:
        UserError: It is no tar.
    """
    if fields != DEFAULT_FIELDS:
        return True
    images = set(fields.images(SOURCE_EXTENSIONS))
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
    """Tells whether a JSON holds a label, or what should be one."""
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
    parts: Mapping[str, Sequence[Path]], ignored: Ignored, fields: ShardFields = DEFAULT_FIELDS
) -> list[SourceImage]:
    """Lists the samples of shards.

    Classes given as numbers become folders of numbers with leading zeros, whose sorted order is the numbers'
    order. A name that several shards of a part have gets its shard in front.

    Args:
        parts: Tars by part; "" for those that belong to none.
        ignored: Receives the members that are not used.
        fields: Which fields are a sample's image and label.

    Raises:
        UserError: A sample lacks its label or its image, or cannot be used for another reason.
    """
    samples: list[tuple[str, Path, TarSample]] = []
    for part, tars in parts.items():
        for tar in tars:
            samples += [(part, tar, sample) for sample in _read(tar, ignored, fields)]
    called = number_names({sample.label for _, _, sample in samples})
    counts = collections.Counter((part, called[sample.label], sample.name) for part, _, sample in samples)
    found = []
    for part, tar, sample in samples:
        label = called[sample.label]
        rest = sample.name if counts[part, label, sample.name] == 1 else in_shard(tar, sample.name)
        found.append(SourceImage(part, label, rest, TarLocation(str(tar), sample.offset, sample.size)))
    return found


def _read(tar: Path, ignored: Ignored, fields: ShardFields) -> list[TarSample]:
    """Returns the samples of one shard."""
    found = read_shard(tar, SOURCE_EXTENSIONS, fields)
    found.raise_problems(tar)
    for what in found.odd:
        _log.warning("%s", what)
    for name, reason in found.ignored:
        if reason != A_DIR:
            ignored.add(f"{tar.name}/{name}", reason)
    ignored.add_counts({field_reason(field): count for field, count in found.other.items()})
    return found.samples
