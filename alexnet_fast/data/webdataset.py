"""WebDataset tars: samples of `KEY.jpg` and `KEY.cls` (or `KEY.json`), found by their headers.

Every member is an image, a label, a field that is not requested, or ignored with a reason; `TarContents`
lists them all.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from alexnet_fast.data.image_names import junk_reason
from alexnet_fast.data.shard_fields import (
    DEFAULT_FIELDS,
    LONGEST_LABEL_BYTES,
    FieldName,
    ShardFields,
    field_name,
    read_label,
)
from alexnet_fast.data.tar_members import forbidden_kind, safe_name, tar_members, unreadable
from alexnet_fast.errors import UserError

_NEEDS = "each needs one of both, such as KEY.jpg and KEY.cls; image-key and label-key choose other fields"
_UNIQUE = "a key may stand once in a shard: rename one"


class TarSample(NamedTuple):
    """An image in a tar, and its class.

    Args:
        label: Name or number of its class, as in the tar.
        name: Name of the image's member.
        offset: Offset of the image, in bytes.
        size: Size of the image, in bytes.
    """

    label: str
    name: str
    offset: int
    size: int


class IgnoredMember(NamedTuple):
    """A member that is in no sample.

    Args:
        name: Name in the tar.
        reason: Why it is in no sample.
    """

    name: str
    reason: str


class Problem(NamedTuple):
    """A sample that cannot be used.

    Args:
        name: Name of its image, or of another member.
        members: Number of its members, which are not used.
        error: The reason; it names the tar and the key.
    """

    name: str
    members: int
    error: UserError


@dataclasses.dataclass
class TarContents:
    """Contents of one tar: each member is an image, a label, one of `other` or `ignored`, or has a problem.

    Args:
        samples: In the order of the tar.
        labels: Number of members that label a sample.
        other: Number of members by field, for fields that are neither image nor label.
        ignored: Members that are in no sample.
        problems: Samples that cannot be used; training refuses the tar for them.
        warnings: Oddities of the tar itself.
    """

    samples: list[TarSample] = dataclasses.field(default_factory=list)
    labels: int = 0
    other: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    ignored: list[IgnoredMember] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def members(self) -> int:
        """Number of members that are accounted for: all that the tar has."""
        used = len(self.samples) + self.labels
        return used + self.other.total() + len(self.ignored) + self.unusable

    @property
    def unusable(self) -> int:
        """Number of members of samples that cannot be used."""
        return sum(problem.members for problem in self.problems)

    def raise_problems(self, path: Path) -> None:
        """Checks that every sample can be used.

        Raises:
            UserError: A sample cannot be used; the first one is named.
        """
        if not self.problems:
            return
        error, more = self.problems[0].error, len(self.problems) - 1
        if more:
            hint = f"{error.hint}; {more} more like it: alexnet-fast scan '{path.parent}' names all"
            raise UserError(error.problem, hint) from error
        raise error


def field_reason(field: str) -> str:
    """Returns why a member is not used whose field is neither image nor label."""
    return f"in the unused field {field}"


def tar_samples(
    path: Path, extensions: Collection[str], fields: ShardFields = DEFAULT_FIELDS
) -> Iterator[TarSample]:
    """Yields the samples of one shard; see `read_shard`.

    Raises:
        UserError: The tar cannot be read, or a sample cannot be used.
    """
    contents = read_shard(path, extensions, fields)
    contents.raise_problems(path)
    yield from contents.samples


def read_shard(path: Path, extensions: Collection[str], fields: ShardFields = DEFAULT_FIELDS) -> TarContents:
    """Reads the headers and the labels of one shard.

    The members of a sample stand together, as the webdataset library requires. If they do not (a tar packed
    in the order of a file system), they are one sample if together they have one image and one label; a key
    that comes back with a second image or label is not unique.

    Args:
        path: The tar.
        extensions: Extensions of images, in small letters, with their dots.
        fields: The fields that are image and label.

    Raises:
        UserError: The file is no tar, is damaged, or a name leads out of it.
    """
    reader = _ShardReader(path, fields.images(extensions), fields.label)
    reader.gather()
    try:
        with path.open("rb") as content:
            for key, sample in reader.samples.items():
                reader.add(content, key, sample)
    except OSError as error:
        raise unreadable(path, error) from error
    if not reader.contents.samples and not reader.contents.problems:
        reader.contents.warnings.append(f"{path} holds no sample")
    return reader.contents


class _Member(NamedTuple):
    """A member of a sample, and the number of its run of members with one key."""

    name: str
    offset: int
    size: int
    run: int


_Sample = dict[str, _Member]


class _ShardReader:
    """Reads one tar.

    Args:
        path: The tar.
        images: Fields that may be the image; the first that is there counts.
        labels: Fields that may be the label.
    """

    def __init__(self, path: Path, images: tuple[str, ...], labels: tuple[str, ...]) -> None:
        self._path, self._images, self._labels = path, images, labels
        self.contents = TarContents()
        self.samples: dict[str, _Sample] = {}
        # Members that would be fields if they were plain files.
        self._refused: dict[str, str] = {}

    def gather(self) -> None:
        """Reads the headers."""
        key, run = "", 0
        for member in tar_members(self._path, self.contents.warnings.append):
            name = safe_name(self._path, member.name)
            parsed = field_name(name)
            reason = junk_reason(name) or forbidden_kind(member)
            if reason is None and parsed is not None:
                run += parsed.key != key
                key = parsed.key
                self._take(parsed, _Member(name, member.offset_data, member.size, run))
                continue
            self.contents.ignored.append(
                IgnoredMember(name or ".", reason or "its name has no dot, and so no field")
            )
            if parsed is not None and reason:
                self._refused.setdefault(parsed.key, f"{name} is {reason}")

    def _take(self, parsed: FieldName, field: _Member) -> None:
        """Adds a member to its sample."""
        sample = self.samples.setdefault(parsed.key, {})
        if parsed.field in sample:
            self._problem(field.name, 1, f"{self._called(parsed.key)} has {parsed.field} twice", _UNIQUE)
        else:
            sample[parsed.field] = field

    def add(self, content: IO[bytes], key: str, sample: _Sample) -> None:
        """Adds a sample to the contents."""
        image = next((field for field in self._images if field in sample), None)
        try:
            label = self._label(content, key, sample)
        except UserError as error:
            name = sample[image].name if image else next(iter(sample.values())).name
            self.contents.problems.append(Problem(name, len(sample), error))
            return
        if image is None or label is None:
            self._lonely(key, sample, image, label and label[0])
            return
        self.contents.samples.append(TarSample(label[1], *sample[image][:3]))
        self.contents.labels += label[0] != image
        self.contents.other.update(field for field in sample if field not in (image, label[0]))

    def _label(self, content: IO[bytes], key: str, sample: _Sample) -> tuple[str, str] | None:
        """Returns the field that labels a sample, and the label.

        Raises:
            UserError: The field holds no label, or the key is not unique.
        """
        for kind in (self._images, self._labels):
            runs = {sample[field].run: field for field in kind if field in sample}
            if len(runs) > 1:
                fields = " and ".join(runs.values())
                raise UserError(f"{self._called(key)} comes back, with {fields}", _UNIQUE)
        for field in self._labels:
            if field in sample:
                label = self._read(content, sample[field], field)
                if label is not None:
                    return field, label
        return None

    def _read(self, content: IO[bytes], member: _Member, field: str) -> str | None:
        """Reads a label."""
        where = f"{member.name} in {self._path}"
        if member.size > LONGEST_LABEL_BYTES:
            raise UserError(f"{where} is too long for a label", "it holds a number or a name")
        content.seek(member.offset)
        return read_label(content.read(member.size), field, where)

    def _lonely(self, key: str, sample: _Sample, image: str | None, label: str | None) -> None:
        """Records what a sample lacks; members without image and label are no sample."""
        if image is None and label is None:
            reason = "neither the image nor the label of a sample"
            self.contents.ignored += [IgnoredMember(field.name, reason) for field in sample.values()]
            return
        lacks = "label" if label is None else "image"
        why = f"; {self._refused[key]}" if key in self._refused else ""
        name = sample[image or label or ""].name
        problem = f"{self._called(key)} has no {lacks} (it has {', '.join(sorted(sample))}{why})"
        self._problem(name, len(sample), problem, _NEEDS)

    def _problem(self, name: str, members: int, problem: str, hint: str) -> None:
        self.contents.problems.append(Problem(name, members, UserError(problem, hint)))

    def _called(self, key: str) -> str:
        """Returns the name of a sample, for messages."""
        return f"sample {key} in {self._path}"
