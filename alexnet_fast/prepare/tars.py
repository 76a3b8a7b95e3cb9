"""Tars as a source: shards in a folder, one shard, or a tar of class folders, compressed or not."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path

from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.find_splits import split_dirs
from alexnet_fast.data.image_folder import class_dirs
from alexnet_fast.data.image_list import TarLocation
from alexnet_fast.data.shard_fields import ShardFields
from alexnet_fast.data.shard_files import beside_tars, by_part, part_of, shards_in
from alexnet_fast.data.tar_members import forbidden_kind, tar_members
from alexnet_fast.prepare.archives import list_archive
from alexnet_fast.prepare.locations import Location, NoLocation
from alexnet_fast.prepare.plain_tars import plain_tar
from alexnet_fast.prepare.source_image import SourceImage
from alexnet_fast.prepare.webdataset_source import is_webdataset, list_webdataset

_log = logging.getLogger("alexnet_fast")


def list_tar(path: Path, ignored: Ignored, fields: ShardFields, most: int) -> list[SourceImage]:
    """Lists a tar: of class folders, or a WebDataset shard.

    Args:
        path: The tar.
        ignored: Receives the members that are not used.
        fields: Which fields of a shard's samples are image and label.
        most: Most bytes that a compressed one may hold.

    Raises:
        UserError: It is no such archive, or a member's name leads out of it.
    """
    plain = plain_tar(path, most)
    if is_webdataset(plain, fields):
        return list_webdataset({part_of(path): [plain]}, ignored, fields)
    return list_archive(path, _members(plain), ignored)


def list_shards(root: Path, ignored: Ignored, fields: ShardFields, most: int) -> list[SourceImage]:
    """Lists the shards of a folder, or of its folders train/, val/ and test/; see `list_tar`.

    Raises:
        UserError: A shard cannot be used, or belongs to no part while others do.
    """
    tars = shards_in(root, compressed=True)
    parts = by_part(root, tars) if tars else {}
    if tars:
        beside_tars(root, ignored, compressed=True)
    else:
        for part, directory in split_dirs(root, class_dirs(root, ignored)).items():
            parts[part] = tuple(shards_in(root / directory, compressed=True))
            beside_tars(root / directory, ignored, compressed=True)
    plain = {
        "" if part == "all" else part: [plain_tar(tar, most) for tar in mine] for part, mine in parts.items()
    }
    return list_webdataset(plain, ignored, fields)


def _members(path: Path) -> Iterator[tuple[str, Location]]:
    """Yields what a tar of class folders holds besides folders."""
    for member in tar_members(path, lambda what: _log.warning("%s", what)):
        if not member.isdir():
            yield member.name, _location(path, member)


def _location(path: Path, member: tarfile.TarInfo) -> Location:
    """Returns where a member's bytes are."""
    reason = forbidden_kind(member)
    if reason is not None:
        return NoLocation(str(path), reason)
    return TarLocation(str(path), member.offset_data, member.size)
