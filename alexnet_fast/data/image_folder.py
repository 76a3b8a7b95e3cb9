"""Class folders: one folder of images per class."""

from __future__ import annotations

import array
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alexnet_fast.data.class_map import SUMMARY, ClassMap, in_prepared_order
from alexnet_fast.data.entries import (
    LINK_NOWHERE,
    LINK_UPWARDS,
    WRITTEN_BY_PREPARE,
    Ignored,
    Walk,
    is_directory,
    leads_nowhere,
    leads_upwards,
    read_directory,
)
from alexnet_fast.data.image_list import (
    ARRAY_SUFFIX,
    IMAGE_EXTENSIONS,
    Encoding,
    ImageList,
    StringArray,
    StringArrayBuilder,
)
from alexnet_fast.data.image_names import why_not_entered, why_not_listed
from alexnet_fast.data.index_cache import Fingerprints, IndexCache, SlowNotice, pack_counts, unpack_counts
from alexnet_fast.errors import UserError

BESIDE_CLASSES = "beside the class folders"


def class_dirs(root: Path, ignored: Ignored | None = None) -> list[str]:
    """Returns the names of the class folders in `root`, sorted.

    Hidden folders, those that systems leave behind and links to a folder above `root` are left out.

    Args:
        root: The folder.
        ignored: Receives everything else in `root`.

    Raises:
        UserError: `root` is missing, is no folder or cannot be read.
    """
    ignored = Ignored() if ignored is None else ignored
    directories = []
    for entry in read_directory(root):
        if not is_directory(entry):
            why = LINK_NOWHERE if leads_nowhere(entry) else _why_beside(entry.name)
            ignored.add(entry.name, why)
        elif (reason := why_not_entered(entry.name)) is not None:
            ignored.add(f"{entry.name}/", reason)
        elif leads_upwards(entry, root):
            ignored.add(entry.name, LINK_UPWARDS)
        else:
            directories.append(entry.name)
    return sorted(directories)


def _why_beside(name: str) -> str:
    """Returns why a file beside class folders is ignored."""
    return WRITTEN_BY_PREPARE if name == SUMMARY else why_not_listed(name) or BESIDE_CLASSES


@dataclasses.dataclass(frozen=True)
class ImageFolderDataset:
    """The images below the class folders of one folder.

    Args:
        root: The folder.
    """

    root: Path

    def class_names(self) -> list[str]:
        """Returns the names of the class folders: sorted, or in the order that `prepare` gave them."""
        return in_prepared_order(self.root, class_dirs(self.root))

    def unknown_classes(self, classes: ClassMap) -> list[str]:
        """Returns the class folders that a class map does not have."""
        return sorted(set(self.class_names()) - set(classes.names))

    def images(self, classes: ClassMap) -> ImageList:
        """Lists the images, class by class, sorted by name.

        Raw arrays beside images are left out, as every other file is.

        Args:
            classes: The class map that numbers the folders.

        Raises:
            UserError: There is no image, or a folder cannot be read.
        """
        return list_images(self.root, classes)


def list_images(root: Path, classes: ClassMap) -> ImageList:
    """Lists the images of class folders; see `ImageFolderDataset.images`.

    Raises:
        UserError: There is no image, or a folder cannot be read.
    """
    cache = IndexCache(root, "folders " + "\n".join(classes.names))
    cached = cache.load()
    if cached is None:
        images, fingerprints = _list(root, classes)
        cache.save(len(images), lambda: _packed(images), fingerprints)
        return images
    encoding: Encoding = "array" if cached["array"] else "image"
    listed = ImageList(
        root=root,
        names=StringArray.unpack(cached, "names", "stops"),
        labels=cached["labels"],
        classes=classes,
        encoding=encoding,
        points=cached["points"],
    )
    listed.ignored = unpack_counts(cached)
    return listed


def _packed(images: ImageList) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays to cache."""
    return {
        **pack_counts(images.ignored),
        **images.names.pack("names", "stops"),
        "labels": images.labels,
        "points": images.split_points(),
        "array": np.array(images.encoding == "array"),
    }


def _list(root: Path, classes: ClassMap) -> tuple[ImageList, Fingerprints]:
    """Walks through the folders."""
    fingerprints = Fingerprints()
    notice = SlowNotice(f"listing the images in {root}: a long list is kept for the next time")
    fingerprints.add(os.fspath(root))
    ignored = Ignored()
    class_dirs(root, ignored)
    images, arrays = _Gathered(), _Gathered()
    for label, directory in enumerate(classes.names):
        walk = Walk(f"{root}/{directory}", why_not_listed, ignored, fingerprints.add)
        # By bytes, as names in tars are sorted.
        files = sorted(walk.files(f"{directory}/"), key=os.fsencode)
        images.add(label, [name for name in files if not name.endswith(ARRAY_SUFFIX)])
        arrays.add(label, [name for name in files if name.endswith(ARRAY_SUFFIX)])
        notice.tick()
    gathered, rest = (images, arrays) if images.labels else (arrays, images)
    if not gathered.labels:
        raise nothing_listed(root, ignored)
    if rest.labels:
        ignored.add_counts({"raw arrays beside images": len(rest.labels)})
    listed = ImageList(
        root=root,
        names=gathered.names.done(),
        labels=np.frombuffer(gathered.labels, np.int64),
        classes=classes,
        encoding="image" if gathered is images else "array",
    )
    listed.ignored = dict(ignored.counts)
    return listed, fingerprints


def nothing_listed(root: Path, ignored: Ignored) -> UserError:
    """Returns the error for a folder without a single image; it names what is there instead."""
    there = f" ({ignored.summary()})" if ignored.summary() else ""
    extensions = " ".join(sorted(IMAGE_EXTENSIONS))
    return UserError(
        f"no images in {root}{there}", f"put one folder of images per class there ({extensions})"
    )


class _Gathered:
    """Images of one kind."""

    def __init__(self) -> None:
        self.names = StringArrayBuilder()
        self.labels = array.array("q")

    def add(self, label: int, names: list[str]) -> None:
        """Adds the images of one class."""
        for name in names:
            self.names.add(name)
        self.labels.extend([label] * len(names))
