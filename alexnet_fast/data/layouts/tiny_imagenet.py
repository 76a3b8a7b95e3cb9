"""Tiny ImageNet's own folders, as Stanford's CS231n gave it out.

train/n01443537/images/n01443537_0.JPEG   and n01443537_boxes.txt beside images/
val/images/val_0.JPEG                     whose classes stand in val/val_annotations.txt
test/images/test_0.JPEG                   without labels: left out
wnids.txt, words.txt                      the 200 classes; words of all of WordNet
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from alexnet_fast.data.entries import Ignored
from alexnet_fast.data.image_folder import class_dirs
from alexnet_fast.data.layouts.base import Layout, LayoutSplit, Row, loose_images, need_file, read_lines
from alexnet_fast.data.layouts.imagenet import class_names, read_words
from alexnet_fast.errors import UserError

KIND = "tiny-imagenet"
_ANNOTATIONS = "val_annotations.txt"


def is_tiny_imagenet(root: Path) -> bool:
    """Returns whether a folder has this layout."""
    return (root / "val" / _ANNOTATIONS).is_file() and (root / "train").is_dir()


def tiny_imagenet(root: Path) -> Layout:
    """Reads the layout.

    Raises:
        UserError: A file of it is missing or wrong.
    """
    annotations = need_file(root / "val" / _ANNOTATIONS, "the list of the validation images' classes")
    words = read_words(root / "words.txt") if (root / "words.txt").is_file() else {}
    called = class_names(class_dirs(root / "train"), words, root)
    names = tuple(sorted(called.values()))
    train, val = Ignored(), Ignored()
    return Layout(
        KIND,
        names,
        {
            "train": LayoutSplit(root / "train", names, lambda: _train(root / "train", called, train), train),
            "val": LayoutSplit(root / "val", names, lambda: _val(annotations, called, val), val),
        },
    )


def _train(directory: Path, called: Mapping[str, str], ignored: Ignored) -> Iterator[Row]:
    """Lists the images below each class folder."""
    class_dirs(directory, ignored)
    if (directory.parent / "test").is_dir():
        ignored.add("test/", "test/ has no labels: left out")
    for wnid, label in called.items():
        for name in loose_images(directory / wnid, ignored):
            yield Row(f"{wnid}/{name}", label, name.removeprefix("images/"))


def _val(annotations: Path, called: Mapping[str, str], ignored: Ignored) -> Iterator[Row]:
    """Lists the validation images with the classes that their list gives them.

    Raises:
        UserError: List and images do not fit each other.
    """
    directory = annotations.parent
    there = set(loose_images(directory, ignored))
    for number, line in enumerate(read_lines(annotations), 1):
        where = f"{annotations} line {number}"
        words = line.split("\t")
        file = f"images/{words[0]}" if f"images/{words[0]}" in there else words[0]
        if len(words) < 2:
            raise UserError(f"{where} has no class", "each line is a file, a tab and a WordNet number")
        if file not in there:
            raise UserError(
                f"{where} names {words[0]}, and {directory} has no such image (or names it twice)",
                "copy the data set again, or remove the line",
            )
        if words[1] not in called:
            raise UserError(f"{where}: train/ has no class {words[1]}", "copy the data set again")
        there.remove(file)
        yield Row(file, called[words[1]], words[0])
    if there:
        raise UserError(
            f"{annotations} has no class for {min(there)} ({len(there)} images)", "copy the data set again"
        )
