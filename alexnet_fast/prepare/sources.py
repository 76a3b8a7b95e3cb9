"""The labelled images of a source, whatever form it has."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from alexnet_fast.data import ClassMap
from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.find_splits import Split, beside_parts, find_splits
from alexnet_fast.data.image_folder import class_dirs
from alexnet_fast.data.image_list import FileLocation, StringArray, split_points
from alexnet_fast.data.layouts.base import Layout, csv_rows
from alexnet_fast.data.layouts.detect import DatasetFormat, find_layout
from alexnet_fast.data.shard_files import compressed_suffix, is_tar
from alexnet_fast.data.shards import Shards
from alexnet_fast.data.split_names import PARTS, named_splits
from alexnet_fast.data.split_rule import validation_mask
from alexnet_fast.data.splits import need_all_classes
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.source_image import SourceImage

# Of a compressed tar, unless `--max-download` says otherwise.
MOST_UNPACKED = 16 << 30


@dataclasses.dataclass(frozen=True)
class SourceList:
    """All images of a source, sorted by name.

    Args:
        images: The images; no two have one name.
        classes: The class map of all parts.
        layout: What its layout is called; None for class folders, archives and lists.
    """

    images: tuple[SourceImage, ...]
    classes: ClassMap
    layout: str | None = None

    @property
    def divided(self) -> bool:
        """Whether there are train/, val/ and test/."""
        return any(image.part for image in self.images)

    def divide(self, val_fraction: float) -> SourceList:
        """Returns the list with a stable share of its images in val/ and the rest in train/.

        The share is the one that training would keep for validation: it hangs on the names.
        """
        points = split_points(StringArray.of(image.name for image in self.images))
        numbers = {name: number for number, name in enumerate(self.classes.names)}
        labels = np.array([numbers[image.label] for image in self.images], np.int64)
        moved = (
            dataclasses.replace(image, part="val" if is_val else "train")
            for image, is_val in zip(self.images, validation_mask(labels, points, val_fraction), strict=True)
        )
        return dataclasses.replace(self, images=tuple(sorted(moved, key=lambda image: image.name)))

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns how many images each class has in each part; the part "" is everything."""
        counts: dict[str, dict[str, int]] = {}
        for (part, label), count in Counter((p.part, p.label) for p in self.images).items():
            counts.setdefault(part, {})[label] = count
        return counts

    def fingerprint(self) -> str:
        """Returns a SHA-256 over the names: runs that share the work must have one list."""
        names = "\n".join(image.name for image in self.images)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()


def open_source(
    source: Path,
    dataset_format: DatasetFormat | None = None,
    *,
    ignored: Ignored | None = None,
    most_unpacked: int = MOST_UNPACKED,
) -> SourceList:
    """Lists a folder, a CSV, WebDataset tars, or a tar or zip of class folders.

    Args:
        source: Its path.
        dataset_format: What is said of the layout of a folder, and of the fields of tars.
        ignored: Receives what is not used, and why.
        most_unpacked: Most bytes that a compressed tar may hold.

    Raises:
        UserError: It is missing, of no known form or holds no labelled image.
    """
    from alexnet_fast.prepare.archives import list_zip
    from alexnet_fast.prepare.tars import list_shards, list_tar

    dataset_format, ignored = dataset_format or DatasetFormat(), Ignored() if ignored is None else ignored
    if source.is_dir():
        layout = find_layout(source, dataset_format)
        if layout is not None:
            return gather(source, _of_layout(layout, ignored), layout)
        if _has_class_dirs(source):
            return gather(source, _of_parts(source, dataset_format, ignored), ignored=ignored)
        found = list_shards(source, ignored, dataset_format.fields, most_unpacked)
        return gather(source, found, ignored=ignored)
    if not source.exists():
        raise UserError(f"no such file or folder: {source}", "check the path", exit_code=2)
    if dataset_format.kind not in (None, "folders"):
        raise UserError(
            f"--dataset-format {dataset_format.kind} is that of a folder, and {source} is a file", exit_code=2
        )
    suffix = source.suffix.lower()
    if suffix == ".csv":
        return gather(source, list_csv(source))
    if suffix == ".zip":
        return gather(source, list_zip(source, ignored))
    if is_tar(source.name) or compressed_suffix(source.name):
        return gather(source, list_tar(source, ignored, dataset_format.fields, most_unpacked))
    raise UserError(
        f"{source} is of no kind that can be prepared",
        "give a folder, a .csv, a .zip or a .tar, plain or compressed",
        exit_code=2,
    )


def gather(
    source: Path, found: Iterable[SourceImage], layout: Layout | None = None, ignored: Ignored | None = None
) -> SourceList:
    """Sorts images and numbers their classes, as the layout has them or else by name.

    Raises:
        UserError: There is none, or two have one name.
    """
    images = tuple(sorted(found, key=lambda image: image.name))
    if not images:
        there = f" ({ignored.summary()})" if ignored is not None and ignored.summary() else ""
        raise UserError(
            f"no labelled images in {source}{there}",
            "put one folder of images a class there, or give a CSV",
        )
    for one, next_one in itertools.pairwise(images):
        if one.name == next_one.name:
            raise UserError(f"{source} lists {one.name} twice", "remove one of them")
    if layout is not None:
        return SourceList(images, ClassMap(layout.classes), layout.kind)
    return SourceList(images, ClassMap.from_names(image.label for image in images))


def _of_layout(layout: Layout, ignored: Ignored) -> Iterator[SourceImage]:
    """Yields the images of a folder in a published layout."""
    for part, contents in layout.parts.items():
        for row in contents.rows():
            location = row.location or FileLocation(f"{contents.root}/{row.file}")
            yield SourceImage("" if part == "all" else part, row.label, row.rest, location)
        ignored.add_counts(contents.ignored.counts)


def _has_class_dirs(root: Path) -> bool:
    """Tells whether class folders stand in a folder, or in train/, val/ and test/ in it."""
    directories = class_dirs(root)
    parts = [name for mine in named_splits(directories).values() for name in mine]
    return len(directories) > len(parts) or any(class_dirs(root / name) for name in parts)


def _of_parts(root: Path, dataset_format: DatasetFormat, ignored: Ignored) -> Iterator[SourceImage]:
    """Yields the images of class folders, alone or in parts, as training lists them.

    Raises:
        UserError: Training would not take the folder.
    """
    from alexnet_fast.prepare.webdataset_source import list_webdataset

    ignored.add_counts(beside_parts(root).counts)
    tars: dict[str, list[Path]] = {}
    # The layout has been looked for.
    for part, contents in find_splits(
        root, dataset_format=dataclasses.replace(dataset_format, kind="folders")
    ).items():
        name = "" if part == "all" else part
        if isinstance(contents, Shards):
            tars[name] = list(contents.tars)
        else:
            yield from _of_class_dirs(name, contents, ignored)
    yield from list_webdataset(tars, ignored, dataset_format.fields)


def _of_class_dirs(part: str, contents: Split, ignored: Ignored) -> Iterator[SourceImage]:
    """Yields the images of one part.

    Raises:
        UserError: A class folder has none, or they are raw arrays.
    """
    names = contents.class_names()
    if not names:
        class_dirs(contents.root, ignored)
        return
    images = contents.images(ClassMap(tuple(names)))
    ignored.add_counts(images.ignored)
    if images.encoding == "array":
        raise UserError(f"{contents.root} has raw arrays, which are prepared already", "give the images")
    if part in ("", "train"):
        need_all_classes(contents.root, images)
    for name, label in zip(images.names, images.labels.tolist(), strict=True):
        location = FileLocation(f"{contents.root}/{name}")
        yield SourceImage(part, names[label], name.partition("/")[2], location)


def list_csv(path: Path) -> list[SourceImage]:
    """Reads the columns `file` (relative to the CSV), `class` and, where there is one, `part`.

    Raises:
        UserError: A column or value is missing or cannot be used; the line is named.
    """
    return list(_images(path))


def _images(path: Path) -> Iterator[SourceImage]:
    """Yields the image of each line."""
    for where, row in csv_rows(path, ("file", "class")):
        file, part = row["file"], row.get("part", "")
        if not file or "\0" in file:
            raise UserError(f"{where} has no file", "each line needs file and class")
        if part and part not in PARTS:
            raise UserError(f"{where}: {part!r} is no part", f"use {', '.join(PARTS)} or leave it empty")
        label = check_class(row["class"].strip(), where)
        yield SourceImage(part, label, _below(label, file), FileLocation(str(path.parent / file)))


def _below(label: str, file: str) -> str:
    """Returns where a file is to stand in its class folder."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("/", "..")]
    return "/".join(parts[1:] if parts[0] == label and len(parts) > 1 else parts)
