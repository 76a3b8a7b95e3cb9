"""What some tars hold: from the tables beside them, or else from the headers inside."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet_fast.data.class_map import SUMMARY, prepared_classes
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.image_list import ARRAY_SUFFIX, StringArray, StringArrayBuilder, split_points
from alexnet_fast.data.index_cache import Arrays, SlowNotice, pack_counts, unpack_counts
from alexnet_fast.data.shard_fields import DEFAULT_FIELDS, LISTED, ShardFields, number_names
from alexnet_fast.data.shard_files import in_shard
from alexnet_fast.data.shard_table import ShardTable
from alexnet_fast.data.tar_members import A_DIR
from alexnet_fast.data.webdataset import TarContents, field_reason, read_shard
from alexnet_fast.errors import UserError
from alexnet_fast.utils.arrays import Integers

_COLUMNS = ("labels", "tar", "offset", "length", "sizes", "points")


@dataclasses.dataclass(frozen=True, eq=False)
class ShardContents:
    """All images of some tars, class by class and sorted by name.

    Args:
        names: Of the images.
        labels: int64 (N,), places in `classes`.
        classes: Names of the classes.
        tar: int64 (N,), which of the tars.
        offset: int64 (N,), where each image begins.
        length: int64 (N,), its bytes.
        sizes: int32 (N, 2), height and width; (0, 2) where they are not known.
        points: float64 (N,), as in `ImageList`.
        ignored: How many members are not used, by reason.
        warnings: Oddities of the tars.
    """

    names: StringArray
    labels: Integers
    classes: tuple[str, ...]
    tar: Integers
    offset: Integers
    length: Integers
    sizes: npt.NDArray[np.int32]
    points: npt.NDArray[np.float64]
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)
    warnings: Sequence[str] = ()

    def pack(self) -> Arrays:
        """Returns the contents as plain arrays."""
        return {
            **self.names.pack("names", "stops"),
            **StringArray.of(self.classes).pack("classes", "class_stops"),
            **StringArray.of(self.warnings).pack("warnings", "warning_stops"),
            **pack_counts(self.ignored),
            **{name: getattr(self, name) for name in _COLUMNS},
        }

    @classmethod
    def unpack(cls, arrays: Arrays) -> ShardContents:
        """Reads what `pack` returned."""
        return cls(
            names=StringArray.unpack(arrays, "names", "stops"),
            classes=tuple(StringArray.unpack(arrays, "classes", "class_stops")),
            warnings=tuple(StringArray.unpack(arrays, "warnings", "warning_stops")),
            ignored=unpack_counts(arrays),
            **{name: arrays[name] for name in _COLUMNS},
        )

    def select(self, keep: Integers) -> ShardContents:
        """Returns the images at the given positions, in that order."""
        columns = {
            name: getattr(self, name)[keep] for name in ("labels", "tar", "offset", "length", "points")
        }
        sizes = self.sizes[keep] if len(self.sizes) else self.sizes
        return dataclasses.replace(self, names=self.names.select(keep), sizes=sizes, **columns)


def read_contents(root: Path, tars: Sequence[Path], fields: ShardFields = DEFAULT_FIELDS) -> ShardContents:
    """Reads what tars hold.

    Args:
        root: Their folder.
        tars: Full paths.
        fields: The fields that are a sample's image and label.

    Raises:
        UserError: A tar or a table is damaged, or has a sample without label or image.
    """
    classes = prepared_classes(root)
    # A table says where the images and labels are that `prepare` wrote, not where others would be.
    tables = [ShardTable.load(tar) for tar in tars] if classes and fields == DEFAULT_FIELDS else []
    whole = [table for table in tables if table is not None]
    if classes and len(whole) == len(tars):
        found = _from_tables(whole, classes)
    else:
        found = _from_headers(tars, classes, fields)
    return _sorted(found)


def _from_tables(tables: Sequence[ShardTable], classes: tuple[str, ...]) -> ShardContents:
    """Joins the tables of all tars."""
    names = StringArrayBuilder()
    for table in tables:
        for name in table.names:
            names.add(name)
    packed = names.done()
    return ShardContents(
        names=packed,
        points=split_points(packed),
        labels=np.concatenate([table.labels for table in tables]),
        classes=classes,
        tar=np.repeat(np.arange(len(tables)), [len(table.labels) for table in tables]),
        offset=np.concatenate([table.offsets for table in tables]),
        length=np.concatenate([table.lengths for table in tables]),
        sizes=np.concatenate([table.sizes for table in tables]),
    )


def _from_headers(
    tars: Sequence[Path], prepared: tuple[str, ...] | None, fields: ShardFields
) -> ShardContents:
    """Reads every header of tars that have no tables."""
    patience = SlowNotice(
        f"reading the headers of {len(tars)} tars in {tars[0].parent}: a long list is kept for the next time"
    )
    names = StringArrayBuilder()
    rows: list[tuple[int, int, int, int]] = []
    texts: dict[str, int] = {}
    notes = _Notes()
    for number, tar in enumerate(tars):
        patience.tick()
        found = read_shard(tar, LISTED, fields)
        found.raise_problems(tar)
        _check_within(tar, found, prepared)
        notes.add(found)
        for sample in found.samples:
            names.add(sample.name)
            rows.append((texts.setdefault(sample.label, len(texts)), number, sample.offset, sample.size))
    if not rows:
        raise notes.no_sample(tars[0].parent)
    labels, tar_of, offset, length = np.array(rows, np.int64).reshape(-1, 4).T
    classes, places = _numbered(list(texts), prepared)
    packed = names.done()
    _check_not_mixed(packed, tars, tar_of)
    # Of the plain names, so that an image keeps its side when a shard is added that has its name too.
    points = split_points(packed)
    return ShardContents(
        names=_distinct(packed, points, tars, tar_of),
        points=points,
        labels=places[labels],
        classes=classes,
        tar=tar_of,
        offset=offset,
        length=length,
        sizes=np.zeros((0, 2), np.int32),
        ignored=dict(notes.ignored.counts),
        warnings=notes.warnings,
    )


class _Notes:
    """Counts ignored members, and collects warnings, over several tars."""

    def __init__(self) -> None:
        self.ignored = Ignored()
        self.warnings: list[str] = []

    def add(self, contents: TarContents) -> None:
        """Adds one tar."""
        for member in contents.ignored:
            if member.reason != A_DIR:
                self.ignored.add(member.name, member.reason)
        self.ignored.add_counts({field_reason(field): count for field, count in contents.other.items()})
        self.warnings += contents.warnings

    def no_sample(self, directory: Path) -> UserError:
        """Returns the error for tars without any sample."""
        counted = f": {self.ignored.summary()}" if len(self.ignored) else ""
        return UserError(
            f"the tars in {directory} hold no sample{counted}",
            "a sample is KEY.jpg and KEY.cls; image-key and label-key choose other fields",
        )


def _check_not_mixed(names: StringArray, tars: Sequence[Path], tar_of: Integers) -> None:
    """Checks that there are not both arrays and images: one kind would be left out.

    Raises:
        UserError: There are both.
    """
    suffix = ARRAY_SUFFIX.encode()
    arrays = np.fromiter((name.lower().endswith(suffix) for name in names.encoded()), bool, len(names))
    if arrays.any() and not arrays.all():
        first = int(arrays.argmax())
        raise UserError(
            f"{tars[int(tar_of[first])]} holds an array, {names[first]}, and other samples hold images",
            "choose one kind with image-key, or pack them into folders of their own",
        )


def _check_within(tar: Path, found: TarContents, prepared: tuple[str, ...] | None) -> None:
    """Checks that every label is an index into the classes of `prepare`, which wrote the tars.

    Raises:
        UserError: A label is none; its sample is named.
    """
    if prepared is None:
        return
    for sample in found.samples:
        label = sample.label
        if not (label.isascii() and label.isdigit() and int(label) < len(prepared)):
            raise UserError(
                f"{sample.name} in {tar} has class {label}, and {SUMMARY} lists {len(prepared)}",
                "keep tars and summary together",
            )


def _distinct(
    names: StringArray, points: npt.NDArray[np.float64], tars: Sequence[Path], tar_of: Integers
) -> StringArray:
    """Returns the names, those that several tars have with their tar in front."""
    if len(np.unique(points)) == len(points):
        return names
    counts = collections.Counter(names.encoded())
    if max(counts.values()) == 1:
        return names
    return StringArray.of(
        in_shard(tars[tar], name) if counts[raw] > 1 else name
        for name, raw, tar in zip(names, names.encoded(), tar_of.tolist(), strict=True)
    )


def _numbered(texts: list[str], prepared: tuple[str, ...] | None) -> tuple[tuple[str, ...], Integers]:
    """Returns the class names, and the place of each class as it is written in the tars.

    Args:
        texts: Names or numbers.
        prepared: The classes whose places the numbers are, where `prepare` wrote the tars.
    """
    if prepared is not None:
        return prepared, np.array([int(text) for text in texts], np.int64)
    called = number_names(texts)
    names = tuple(sorted(set(called.values())))
    places = {name: place for place, name in enumerate(names)}
    return names, np.array([places[called[text]] for text in texts], np.int64)


def _sorted(found: ShardContents) -> ShardContents:
    """Returns the images class by class, by name."""
    if not len(found.names):
        return found
    return found.select(np.lexsort((np.array(list(found.names.encoded())), found.labels)))
