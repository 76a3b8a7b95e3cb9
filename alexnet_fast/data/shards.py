"""Folders of WebDataset tars, written by `prepare --shards` or by other programs."""

from __future__ import annotations

import dataclasses
import functools
import logging
from pathlib import Path

import numpy as np

from alexnet_fast.data.class_map import SUMMARY, ClassMap
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.image_list import ARRAY_SUFFIX, ImageList, Stretches
from alexnet_fast.data.index_cache import Fingerprints, IndexCache
from alexnet_fast.data.shard_contents import ShardContents, read_contents
from alexnet_fast.data.shard_fields import DEFAULT_FIELDS, ShardFields
from alexnet_fast.data.shard_files import beside_tars
from alexnet_fast.data.shard_table import TABLE_SUFFIX

_log = logging.getLogger("alexnet_fast")


@dataclasses.dataclass(frozen=True)
class Shards:
    """The images in some tars of a folder.

    Args:
        root: The folder.
        tars: Full paths, sorted.
        fields: The fields that are a sample's image and label.
        all_of_root: Whether these are all tars of the folder; if so, files beside them count as ignored.
    """

    root: Path
    tars: tuple[Path, ...]
    fields: ShardFields = DEFAULT_FIELDS
    all_of_root: bool = False

    def class_names(self) -> list[str]:
        """Returns the names of the classes, in the order of their numbers."""
        return list(self._contents.classes)

    def unknown_classes(self, classes: ClassMap) -> list[str]:
        """Returns the classes that a class map does not have."""
        known = set(map(_plain, classes.names))
        return [name for name in self.class_names() if _plain(name) not in known]

    def images(self, classes: ClassMap) -> ImageList:
        """Lists the images, class by class, sorted by name: as they would stand in class folders.

        Args:
            classes: The class map; it has every class of these tars.
        """
        contents = self._contents
        numbers = {_plain(name): number for number, name in enumerate(classes.names)}
        labels = np.array([numbers[_plain(name)] for name in contents.classes], np.int64)[contents.labels]
        arrays = len(contents.names) > 0 and contents.names[0].lower().endswith(ARRAY_SUFFIX)
        listed = ImageList(
            root=self.root,
            names=contents.names,
            labels=labels,
            classes=classes,
            stretches=Stretches(tuple(map(str, self.tars)), contents.tar, contents.offset, contents.length),
            sizes=contents.sizes if len(contents.sizes) else None,
            points=contents.points,
            encoding="array" if arrays else "image",
        )
        if (np.diff(labels) < 0).any():
            listed = listed.select(np.argsort(labels, kind="stable"))
        ignored = Ignored()
        ignored.add_counts(contents.ignored)
        if self.all_of_root:
            beside_tars(self.root, ignored)
        listed.ignored = ignored.counts
        return listed

    @functools.cached_property
    def _contents(self) -> ShardContents:
        """The contents of the tars; their oddities are logged."""
        contents = self._cached_or_read()
        for warning in contents.warnings:
            _log.warning("%s", warning)
        return contents

    def _cached_or_read(self) -> ShardContents:
        """Returns the contents of the tars, from the user's cache folder if they are there."""
        names = "\n".join(tar.name for tar in self.tars)
        cache = IndexCache(self.root, f"tars {self.fields.key()}\n{names}")
        cached = cache.load()
        if cached is not None:
            return ShardContents.unpack(cached)
        fingerprints = Fingerprints()
        tables = (tar.with_suffix(TABLE_SUFFIX) for tar in self.tars)
        for path in (*self.tars, *tables, self.root / SUMMARY):
            if path.exists():
                fingerprints.add(path)
        contents = read_contents(self.root, self.tars, self.fields)
        cache.save(len(contents.names), contents.pack, fingerprints)
        return contents


def _plain(name: str) -> str:
    """Returns the name of a class; of a number without leading zeros, which depend on the other classes."""
    return str(int(name)) if name.isascii() and name.isdigit() else name
