"""What some tars hold: from the tables beside them, or else from the headers inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alexnet_fast.data.list_cache import Arrays, Patience
from alexnet_fast.data.names import Integers, Names, NamesBuilder
from alexnet_fast.data.picture_list import ARRAY_ENDING, PICTURE_ENDINGS, split_points
from alexnet_fast.data.prepared_classes import SUMMARY, prepared_classes
from alexnet_fast.data.shard_table import ShardTable
from alexnet_fast.data.tar_samples import number_names, tar_samples
from alexnet_fast.errors import UserError

_COLUMNS = ("labels", "tar", "offset", "length", "sizes", "points")


@dataclasses.dataclass(frozen=True, eq=False)
class ShardContents:
    """All pictures of some tars, class by class and sorted by name.

    Args:
        names: Of the pictures.
        labels: int64 (N,), places in `classes`.
        classes: Names of the classes.
        tar: int64 (N,), which of the tars.
        offset: int64 (N,), where each picture begins.
        length: int64 (N,), its bytes.
        sizes: int32 (N, 2), height and width; (0, 2) where they are not known.
        points: float64 (N,), as in `PictureList`.
    """

    names: Names
    labels: Integers
    classes: tuple[str, ...]
    tar: Integers
    offset: Integers
    length: Integers
    sizes: npt.NDArray[np.int32]
    points: npt.NDArray[np.float64]

    def pack(self) -> Arrays:
        """Returns the contents as plain arrays."""
        names, stops = self.names.pack()
        classes, class_stops = Names.of(self.classes).pack()
        return {
            "names": np.frombuffer(names, np.uint8),
            "stops": stops,
            "classes": np.frombuffer(classes, np.uint8),
            "class_stops": class_stops,
            **{name: getattr(self, name) for name in _COLUMNS},
        }

    @classmethod
    def unpack(cls, arrays: Arrays) -> ShardContents:
        """Reads what `pack` returned."""
        return cls(
            names=Names.unpack(arrays["names"].tobytes(), arrays["stops"]),
            classes=tuple(Names.unpack(arrays["classes"].tobytes(), arrays["class_stops"])),
            **{name: arrays[name] for name in _COLUMNS},
        )

    def select(self, keep: Integers) -> ShardContents:
        """Returns the pictures at the given positions, in that order."""
        columns = {
            name: getattr(self, name)[keep] for name in ("labels", "tar", "offset", "length", "points")
        }
        sizes = self.sizes[keep] if len(self.sizes) else self.sizes
        return dataclasses.replace(self, names=self.names.select(keep), sizes=sizes, **columns)


def read_contents(root: Path, tars: Sequence[Path]) -> ShardContents:
    """Reads what tars hold.

    Args:
        root: Their folder.
        tars: Full paths.

    Raises:
        UserError: A tar or a table is damaged, or has a sample without class or picture.
    """
    classes = prepared_classes(root)
    tables = [ShardTable.load(tar) for tar in tars] if classes else []
    whole = [table for table in tables if table is not None]
    if classes and len(whole) == len(tars):
        found = _from_tables(whole, classes)
    else:
        found = _from_headers(tars, classes)
    return _sorted(_of_one_kind(found))


def _from_tables(tables: Sequence[ShardTable], classes: tuple[str, ...]) -> ShardContents:
    """Joins the tables of all tars."""
    names = NamesBuilder()
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


def _from_headers(tars: Sequence[Path], prepared: tuple[str, ...] | None) -> ShardContents:
    """Reads every header of tars that have no tables."""
    names = NamesBuilder()
    patience = Patience(
        f"reading the headers of {len(tars)} tars in {tars[0].parent}: a long list is kept for the next time"
    )
    rows: list[tuple[int, int, int, int]] = []
    texts: dict[str, int] = {}
    for number, tar in enumerate(tars):
        patience.tick()
        for sample in tar_samples(tar, PICTURE_ENDINGS | {ARRAY_ENDING}):
            names.add(sample.name)
            rows.append((texts.setdefault(sample.label, len(texts)), number, sample.offset, sample.size))
    labels, tar_of, offset, length = np.array(rows, np.int64).reshape(-1, 4).T
    classes, places = _numbered(tars[0].parent, list(texts), prepared)
    none = np.zeros((0, 2), np.int32)
    packed = names.done()
    points = split_points(packed)
    return ShardContents(packed, places[labels], classes, tar_of, offset, length, none, points)


def _numbered(
    root: Path, texts: list[str], prepared: tuple[str, ...] | None
) -> tuple[tuple[str, ...], Integers]:
    """Returns the class names, and the place of each class as it is written in the tars.

    Args:
        root: For messages.
        texts: Names or numbers.
        prepared: The classes whose places the numbers are, where `prepare` wrote the tars.

    Raises:
        UserError: A number is no place in `prepared`.
    """
    if prepared is None:
        called = number_names(texts)
        names = tuple(sorted(set(called.values())))
        places = {name: place for place, name in enumerate(names)}
        return names, np.array([places[called[text]] for text in texts], np.int64)
    beyond = [text for text in texts if not (text.isascii() and text.isdigit() and int(text) < len(prepared))]
    if beyond:
        raise UserError(
            f"{root} has class {beyond[0]}, and {SUMMARY} lists {len(prepared)}",
            "keep tars and summary together",
        )
    return prepared, np.array([int(text) for text in texts], np.int64)


def _of_one_kind(found: ShardContents) -> ShardContents:
    """Leaves out arrays where there are pictures."""
    ending = ARRAY_ENDING.encode()
    arrays = np.fromiter((name.endswith(ending) for name in found.names.encoded()), bool, len(found.names))
    return found if arrays.all() or not arrays.any() else found.select(np.flatnonzero(~arrays))


def _sorted(found: ShardContents) -> ShardContents:
    """Returns the pictures class by class, by name."""
    if not len(found.names):
        return found
    return found.select(np.lexsort((np.array(list(found.names.encoded())), found.labels)))
