"""The labelled images of a source, in any form."""

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
from alexnet_fast.data.find_splits import Split, beside_splits, find_splits
from alexnet_fast.data.image_folder import class_dirs
from alexnet_fast.data.image_list import FileLocation, StringArray, split_points
from alexnet_fast.data.layouts.base import Layout, csv_rows
from alexnet_fast.data.layouts.detect import DatasetFormat, find_layout
from alexnet_fast.data.shard_files import compressed_suffix, is_tar
from alexnet_fast.data.shards import Shards
from alexnet_fast.data.split_names import SPLITS, named_splits
from alexnet_fast.data.split_rule import validation_mask
from alexnet_fast.data.splits import check_all_classes
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.archives import list_zip
from alexnet_fast.prepare.source_image import SourceImage
from alexnet_fast.prepare.tars import list_shards, list_tar, list_webdataset

# Limit for a compressed tar, unless --max-download sets another.
MOST_UNPACKED = 16 << 30


@dataclasses.dataclass(frozen=True)
class SourceList:
    """All images of a source, sorted by name.

    Args:
        images: The images; no two have one name.
        classes: The class map of all splits.
        layout: Name of the layout; None for class folders, archives and lists.
    """

    images: tuple[SourceImage, ...]
    classes: ClassMap
    layout: str | None = None

    @property
    def divided(self) -> bool:
        """Whether the images are in train/, val/ and test/."""
        return any(image.split for image in self.images)

    def divide(self, val_fraction: float) -> SourceList:
        """Returns the list with a stable fraction of its images in val/ and the rest in train/.

        Training would choose the same images for validation: the choice depends on the names alone.
        """
        points = split_points(StringArray.of(image.name for image in self.images))
        numbers = {name: number for number, name in enumerate(self.classes.names)}
        labels = np.array([numbers[image.label] for image in self.images], np.int64)
        moved = (
            dataclasses.replace(image, split="val" if is_val else "train")
            for image, is_val in zip(self.images, validation_mask(labels, points, val_fraction), strict=True)
        )
        return dataclasses.replace(self, images=tuple(sorted(moved, key=lambda image: image.name)))

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns how many images each class has in each split; "" is an undivided source."""
        counts: dict[str, dict[str, int]] = {}
        for (split, label), count in Counter((image.split, image.label) for image in self.images).items():
            counts.setdefault(split, {})[label] = count
        return counts

    def fingerprint(self) -> str:
        """Returns a SHA-256 of the names: runs that share the work must have the same list."""
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
        dataset_format: Layout of a folder and fields of tars, as far as the user gave them.
        ignored: Receives what is not used, and why.
        most_unpacked: Maximum bytes in a compressed tar.

    Raises:
        UserError: The source is missing, of no known form or holds no labelled image.
    """
    dataset_format, ignored = dataset_format or DatasetFormat(), Ignored() if ignored is None else ignored
    if source.is_dir():
        layout = find_layout(source, dataset_format)
        if layout is not None:
            return gather(source, _of_layout(layout, ignored), layout)
        if _has_class_dirs(source):
            return gather(source, _of_splits(source, dataset_format, ignored), ignored=ignored)
        images = list_shards(source, ignored, dataset_format.fields, most_unpacked)
        return gather(source, images, ignored=ignored)
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
        f"{source} cannot be prepared",
        "give a folder, a .csv, a .zip or a .tar, plain or compressed",
        exit_code=2,
    )


def gather(
    source: Path, found: Iterable[SourceImage], layout: Layout | None = None, ignored: Ignored | None = None
) -> SourceList:
    """Sorts images and numbers their classes, in the order of the layout or else by name.

    Raises:
        UserError: There is no image, or two have the same name.
    """
    images = tuple(sorted(found, key=lambda image: image.name))
    if not images:
        there = f" ({ignored.summary()})" if ignored is not None and ignored.summary() else ""
        raise UserError(
            f"no labelled images in {source}{there}",
            "put one folder of images per class there, or give a CSV",
        )
    for image, next_image in itertools.pairwise(images):
        if image.name == next_image.name:
            raise UserError(f"{source} lists {image.name} twice", "remove one of them")
    if layout is not None:
        return SourceList(images, ClassMap(layout.classes), layout.kind)
    return SourceList(images, ClassMap.from_names(image.label for image in images))


def _of_layout(layout: Layout, ignored: Ignored) -> Iterator[SourceImage]:
    """Yields the images of a folder in a published layout."""
    for split, contents in layout.splits.items():
        for row in contents.rows():
            location = row.location or FileLocation(f"{contents.root}/{row.file}")
            yield SourceImage("" if split == "all" else split, row.label, row.rest, location)
        ignored.add_counts(contents.ignored.counts)


def _has_class_dirs(root: Path) -> bool:
    """Returns whether there are class folders in a folder, or in its train/, val/ and test/."""
    directories = class_dirs(root)
    divided = [name for names in named_splits(directories).values() for name in names]
    return len(directories) > len(divided) or any(class_dirs(root / name) for name in divided)


def _of_splits(root: Path, dataset_format: DatasetFormat, ignored: Ignored) -> Iterator[SourceImage]:
    """Yields the images of class folders, with or without splits, as training lists them.

    Raises:
        UserError: Training would refuse the folder.
    """
    ignored.add_counts(beside_splits(root).counts)
    tars: dict[str, list[Path]] = {}
    # `open_source` has looked for a published layout.
    for split, contents in find_splits(
        root, dataset_format=dataclasses.replace(dataset_format, kind="folders")
    ).items():
        name = "" if split == "all" else split
        if isinstance(contents, Shards):
            tars[name] = list(contents.tars)
        else:
            yield from _of_class_dirs(name, contents, ignored)
    yield from list_webdataset(tars, ignored, dataset_format.fields)


def _of_class_dirs(split: str, contents: Split, ignored: Ignored) -> Iterator[SourceImage]:
    """Yields the images of one split.

    Raises:
        UserError: A class folder has no images, or there are raw arrays.
    """
    names = contents.class_names()
    if not names:
        class_dirs(contents.root, ignored)
        return
    images = contents.images(ClassMap(tuple(names)))
    ignored.add_counts(images.ignored)
    if images.encoding == "array":
        raise UserError(f"{contents.root} has raw arrays, which are prepared already", "give the images")
    if split in ("", "train"):
        check_all_classes(contents.root, images)
    for name, label in zip(images.names, images.labels.tolist(), strict=True):
        location = FileLocation(f"{contents.root}/{name}")
        yield SourceImage(split, names[label], name.partition("/")[2], location)


def list_csv(path: Path) -> Iterator[SourceImage]:
    """Yields the image of each line of a CSV: `file` (relative to the CSV), `class` and, if present, `split`.

    Raises:
        UserError: A column or value is missing or cannot be used; the line is named.
    """
    for where, row in csv_rows(path, ("file", "class")):
        if "part" in row and "split" not in row:
            raise UserError(f"{path} has a column 'part'", "call it split", exit_code=2)
        file, split = row["file"], row.get("split", "")
        if not file or "\0" in file:
            raise UserError(f"{where} has no file", "each line needs file and class")
        if split and split not in SPLITS:
            raise UserError(f"{where}: {split!r} is no split", f"use {', '.join(SPLITS)} or leave it empty")
        label = check_class(row["class"].strip(), where)
        yield SourceImage(split, label, _below(label, file), FileLocation(str(path.parent / file)))


def _below(label: str, file: str) -> str:
    """Returns the path of a file below its class folder."""
    parts = [part for part in PurePosixPath(file).parts if part not in ("/", "..")]
    return "/".join(parts[1:] if parts[0] == label and len(parts) > 1 else parts)
