"""ILSVRC-2012 as image-net.org and Kaggle give it out, in tars or unpacked.

    train/n01440764/*.JPEG, or train/n01440764.tar, or ILSVRC2012_img_train.tar (a tar of those tars)
    val/*.JPEG, val/n01440764/*.JPEG, or ILSVRC2012_img_val.tar
    ILSVRC2012_devkit_t12/ or .tar.gz     classes, words, and the classes of the validation images

Kaggle has the images in ILSVRC/Data/CLS-LOC, and LOC_synset_mapping.txt and LOC_val_solution.csv in place
of the kit. Nothing is unpacked.
"""

from __future__ import annotations

import functools
import logging
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.entries import Ignored, read_directory
from alexnet_fast.data.image_folder import class_dirs
from alexnet_fast.data.image_list import TarLocation
from alexnet_fast.data.image_names import junk_reason, why_ignored
from alexnet_fast.data.layouts.base import (
    WNID,
    Layout,
    LayoutSplit,
    Row,
    has_loose_images,
    loose_images,
    read_lines,
)
from alexnet_fast.data.layouts.imagenet_labels import LISTS, Devkit, find_devkit, validation_wnids
from alexnet_fast.data.tar_members import (
    A_DIR,
    DAMAGED,
    forbidden_kind,
    members_of_open,
    safe_name,
    tar_members,
)
from alexnet_fast.errors import UserError

_log = logging.getLogger("alexnet_fast")


class InnerTar:
    """A tar that is a member of another; going through it yields name and place of each image.

    Args:
        path: The outer tar.
        name: What the inner one is called, without folders.
        offset: Where it begins in the outer one, in bytes.
        size: Its bytes.
    """

    def __init__(self, path: Path, name: str, offset: int, size: int) -> None:
        self._path, self.name, self._offset, self._size = path, name, offset, size

    def __iter__(self) -> Iterator[tuple[str, TarLocation]]:
        ignored = Ignored()
        with self._path.open("rb") as content:
            content.seek(self._offset)
            for member in self._members(content):
                name = safe_name(self._path, member.name)
                reason = junk_reason(name) or forbidden_kind(member) or why_ignored(name.rpartition("/")[2])
                if reason is None:
                    yield name, TarLocation(str(self._path), member.offset_data, member.size)
                elif reason != A_DIR:
                    ignored.add(name, reason)
        if len(ignored):
            _log.warning("ignored in %s of %s: %s", self.name, self._path, ignored.summary())

    def _members(self, content: IO[bytes]) -> Iterator[tarfile.TarInfo]:
        """Yields the members; their offsets count from the start of the outer tar."""
        called = f"{self.name} in {self._path}"
        try:
            with tarfile.TarFile(fileobj=content) as archive:
                yield from members_of_open(archive, content, called, self._offset + self._size)
        except DAMAGED as error:
            raise UserError(f"{called} is not a tar ({error})", "copy it again") from error


def inner_tars(path: Path) -> list[InnerTar]:
    """Returns the tars in a tar, sorted by name.

    Raises:
        UserError: It is no uncompressed tar, or a name leads out of it.
    """
    found = [
        InnerTar(path, safe_name(path, member.name).rpartition("/")[2], member.offset_data, member.size)
        for member in tar_members(path)
        if member.isreg() and member.name.endswith(".tar")
    ]
    return sorted(found, key=lambda tar: tar.name)


def tar_images(path: Path) -> InnerTar:
    """Returns the images of a tar that stands by itself."""
    return InnerTar(path, path.name, 0, path.stat().st_size)


def read_words(path: Path) -> dict[str, str]:
    """Reads lines of a WordNet number, a tab or space, and words: words.txt, synset_words.txt and the like.

    Raises:
        UserError: A line is something else.
    """
    words = {}
    for number, line in enumerate(read_lines(path), 1):
        wnid, _, rest = line.strip().replace("\t", " ", 1).partition(" ")
        if not WNID.fullmatch(wnid):
            raise UserError(
                f"{path} line {number}: {wnid!r} is no WordNet number", "each line is n01443537 goldfish"
            )
        words[wnid] = rest.strip()
    return words


def class_names(wnids: Iterable[str], words: Mapping[str, str], where: Path) -> dict[str, str]:
    """Returns the class name of each WordNet number: "n01443537 goldfish, Carassius auratus".

    The number stands in front because words alone are not unique (ILSVRC-2012 has two kinds of crane), and
    because sorted numbers are the order that ImageNet's networks have their outputs in.

    Args:
        wnids: WordNet numbers.
        words: Of some of them.
        where: The data set, for messages.

    Raises:
        UserError: A name could not be a folder's.
    """
    # A folder cannot have a slash in its name.
    called = {wnid: f"{wnid} {words.get(wnid, '')}".strip().replace("/", " or ") for wnid in wnids}
    return {wnid: check_class(name, str(where)) for wnid, name in called.items()}


KIND = "ilsvrc2012"
_TRAIN_TAR, _VAL_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
_WORDS = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")
_KAGGLE = "ILSVRC/Data/CLS-LOC"

Train = Mapping[str, Iterable[tuple[str, TarLocation | None]]]


def is_ilsvrc2012(root: Path) -> bool:
    """Returns whether a folder has this layout, as far as class folders alone do not say everything."""
    if (root / _TRAIN_TAR).is_file() or (root / _KAGGLE).is_dir():
        return True
    train, val = root / "train", root / "val"
    if not train.is_dir() or not (has_loose_images(val) or (root / _VAL_TAR).is_file()):
        return False
    return any(WNID.match(entry.name) for entry in read_directory(train))


def ilsvrc2012(root: Path) -> Layout:
    """Reads the layout.

    Raises:
        UserError: A part of it is missing or wrong.
    """
    images = root / _KAGGLE if (root / _KAGGLE).is_dir() else root
    devkit = find_devkit(root)
    ignored, ignored_val = Ignored(), Ignored()
    train = _train(images, ignored)
    wnids = sorted(train)
    if len(wnids) < 2:
        raise UserError(
            f"no ILSVRC-2012 training images in {images}",
            f"put {_TRAIN_TAR} there, or train/ with a folder or a tar a class",
        )
    called = class_names(wnids, _words(root, devkit), root)
    names = tuple(called[wnid] for wnid in wnids)
    val = functools.partial(_val, root, images, called, devkit, ignored_val)
    return Layout(
        KIND,
        names,
        {
            "train": LayoutSplit(images / "train", names, lambda: _train_rows(train, called), ignored),
            "val": LayoutSplit(images / "val", names, val, ignored_val),
        },
    )


def _words(root: Path, devkit: Devkit | None) -> dict[str, str]:
    """Returns what the classes are called; nothing where no file says it."""
    path = next((root / name for name in _WORDS if (root / name).is_file()), None)
    if path is not None:
        return read_words(path)
    return devkit.words if devkit else {}


def _train(root: Path, ignored: Ignored) -> Train:
    """Finds the training images of each class: name and place; a class is listed when it is asked for.

    Args:
        root: The folder of train/, or of its tar.
        ignored: Receives what is not listed, when a class is.
    """
    directory = root / "train"
    if (root / _TRAIN_TAR).is_file():
        return {
            tar.name.removesuffix(".tar"): tar
            for tar in inner_tars(root / _TRAIN_TAR)
            if WNID.match(tar.name)
        }
    tars = (
        sorted(path for path in directory.glob("n*.tar") if WNID.fullmatch(path.stem))
        if directory.is_dir()
        else []
    )
    if tars:
        return {path.stem: tar_images(path) for path in tars}
    directories = (
        [name for name in class_dirs(directory) if WNID.fullmatch(name)] if directory.is_dir() else []
    )
    return {wnid: _Dir(directory, wnid, ignored) for wnid in directories}


class _Dir:
    """The images of one class folder."""

    def __init__(self, root: Path, wnid: str, ignored: Ignored) -> None:
        self._root, self._wnid, self._ignored = root, wnid, ignored

    def __iter__(self) -> Iterator[tuple[str, None]]:
        for name in loose_images(self._root / self._wnid, self._ignored):
            yield name, None


def _train_rows(train: Train, called: Mapping[str, str]) -> Iterator[Row]:
    """Yields the training images."""
    for wnid, images in train.items():
        for name, location in images:
            yield Row(f"{wnid}/{name}", called[wnid], name, location)


def _val(
    root: Path, images: Path, called: Mapping[str, str], devkit: Devkit | None, ignored: Ignored
) -> Iterator[Row]:
    """Yields the validation images.

    Raises:
        UserError: There are none, or the list of their classes does not fit.
    """
    directory, tar = images / "val", images / _VAL_TAR
    locations: dict[str, TarLocation | None] = {}
    if directory.is_dir() and not has_loose_images(directory):
        for wnid, label in called.items():
            for name in loose_images(directory / wnid, ignored):
                yield Row(f"{wnid}/{name}", label, name)
        return
    if tar.is_file():
        locations = {name.rpartition("/")[2]: location for name, location in tar_images(tar)}
    elif directory.is_dir():
        locations = dict.fromkeys(_loose(directory, ignored))
    if not locations:
        raise UserError(f"no ILSVRC-2012 validation images in {images}", f"put {_VAL_TAR} or val/ there")
    names = sorted(locations)
    wnids = validation_wnids(_list_dir(root, images), names, sorted(called), devkit)
    for name in names:
        yield Row(name, called[wnids[name]], name, locations[name])


def _loose(directory: Path, ignored: Ignored) -> Iterator[str]:
    """Yields the images that stand in a folder itself."""
    for entry in read_directory(directory):
        reason = why_ignored(entry.name)
        if reason is None:
            yield entry.name
        else:
            ignored.add(entry.name, reason)


def _list_dir(root: Path, images: Path) -> Path:
    """Returns the folder of the list of classes: that of the data set, of the images, or val/."""
    directories = (root, images, images / "val")
    return next(
        (directory for directory in directories if any((directory / name).is_file() for name in LISTS)), root
    )
