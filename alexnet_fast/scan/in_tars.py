"""Images and arrays inside tars, and arrays in files of their own."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from alexnet_fast.data.places import Location, TarLocation
from alexnet_fast.data.shard_fields import DEFAULT_FIELDS, LISTED, ShardFields
from alexnet_fast.data.shard_files import in_shard, part_of
from alexnet_fast.data.shard_notes import field_reason
from alexnet_fast.data.split_names import split_of
from alexnet_fast.data.webdataset import read_shard
from alexnet_fast.errors import UserError
from alexnet_fast.pipelines.io import ArrayFile


class Member(NamedTuple):
    """An image in a tar.

    Args:
        place: Where.
        name: As the tar has it.
        listed: What `--leave-out` calls it: the part of the data set that its tar belongs to, and its name.
    """

    place: TarLocation
    name: str
    listed: str

    @property
    def ending(self) -> str:
        """The name's ending, in small letters."""
        return PurePosixPath(self.name).suffix.lower()


class Row(NamedTuple):
    """What a scan says of a file, or of members of a tar.

    Args:
        file: Its name.
        what: What is said.
        members: How many members are meant.
    """

    file: str
    what: str
    members: int = 1


class TarCount(NamedTuple):
    """What became of the members of a tar: they are images, labels, ignored or unusable, each once.

    Args:
        file: The tar, below the folder that is scanned.
        members: What it holds, folders and links too.
        images: Those that are tried.
        labels: Those that label an image.
        ignored: Those that are in no sample, and fields that are neither image nor label.
        unusable: Those of samples that cannot be used.
    """

    file: str
    members: int
    images: int
    labels: int
    ignored: int
    unusable: int


@dataclasses.dataclass
class InTars:
    """What some tars hold.

    Args:
        members: The images and arrays.
        bad: Samples and tars that cannot be used.
        odd: What is odd about the tars.
        ignored: Members that are in no sample, and fields that are neither image nor label.
        counts: What became of the members of each tar.
    """

    members: list[Member] = dataclasses.field(default_factory=list)
    bad: list[Row] = dataclasses.field(default_factory=list)
    odd: list[Row] = dataclasses.field(default_factory=list)
    ignored: list[Row] = dataclasses.field(default_factory=list)
    counts: list[TarCount] = dataclasses.field(default_factory=list)

    def look_into(self, root: Path, tar: str, fields: ShardFields = DEFAULT_FIELDS) -> None:
        """Adds what a tar holds.

        Args:
            root: The folder that is scanned.
            tar: Path of the tar below it.
            fields: Which fields are a sample's image and label.
        """
        path = root / tar
        try:
            part, found = _part(tar), read_shard(path, LISTED, fields)
        except UserError as error:
            self.bad.append(Row(tar, error.problem))
            return
        where = f" (in {path.name})"
        for sample in found.samples:
            place = TarLocation(str(path), sample.offset, sample.size)
            self.members.append(Member(place, sample.name, _listed(part, sample.name)))
        for problem in found.problems:
            self.bad.append(Row(_listed(part, problem.name), problem.error.problem, problem.members))
        self.odd += [Row(tar, what) for what in found.odd]
        self.ignored += [Row(_listed(part, name), reason + where) for name, reason in found.ignored]
        self.ignored += [Row(tar, field_reason(field), count) for field, count in sorted(found.other.items())]
        unused = len(found.ignored) + found.other.total()
        counted = (found.members, len(found.samples), found.labels, unused, found.unusable)
        self.counts.append(TarCount(tar, *counted))


def told_apart(members: Iterable[Member]) -> list[Member]:
    """Returns the members of all tars, those whose name several tars have with their tar in front."""
    listed = list(members)
    counts = collections.Counter((Path(m.place.path).parent, m.listed) for m in listed)
    return [
        m if counts[Path(m.place.path).parent, m.listed] == 1 else m._replace(listed=_in_its_shard(m))
        for m in listed
    ]


def _in_its_shard(member: Member) -> str:
    """Returns what a member is called with its tar in front."""
    part = member.listed[: -len(member.name)].rstrip("/")
    return _listed(part, in_shard(Path(member.place.path), member.name))


def _part(tar: str) -> str:
    """Returns the part of a tar: the folder of a part that it stands in, or the part in its name."""
    above = PurePosixPath(tar).parts[:-1]
    return above[0] if above and split_of(above[0]) else part_of(Path(tar))


def _listed(part: str, name: str) -> str:
    return f"{part}/{name}" if part else name


def check_array(place: Location) -> None:
    """Reads an array whole.

    Raises:
        BadImageError: It is none, of another kind than images, or cut off.
    """
    with ArrayFile(place) as array:
        array.region((0, 0), array.shape())
