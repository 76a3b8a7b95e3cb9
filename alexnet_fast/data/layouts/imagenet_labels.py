"""The classes of ILSVRC-2012's validation images, in any of the forms in which they are given out."""

from __future__ import annotations

import dataclasses
import struct
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alexnet_fast.data.layouts.base import WNID, csv_rows, read_lines
from alexnet_fast.errors import UserError, system_reason

# The MATLAB reader is by hand: only meta.mat gives the order and words of the devkit's classes, so no table
# can replace it, and scipy, which reads such files, is no dependency.

# Data types of an element (table 1-1) and array types of a matrix (table 1-3) that meta.mat uses.
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHAR = 2, 4

_HEADER_BYTES = 128
# meta.mat has some 0.5 MB when unpacked; a file that grows beyond this is not it.
_MOST_BYTES = 64 << 20

Value = str | float | None


class _Element(NamedTuple):
    """A tagged piece of the file."""

    kind: int
    content: bytes


def read_structs(content: bytes) -> list[dict[str, Value]]:
    """Returns the structs of the first array of structs in a file.

    A field is a text, a number, or None for everything else.

    Raises:
        ValueError: It is no such file, or has none.
    """
    if len(content) < _HEADER_BYTES or content[126:128] != b"IM":
        raise ValueError("no MATLAB 5 file")
    try:
        for element in _elements(content[_HEADER_BYTES:]):
            matrix = _unpacked(element)
            parts = list(_elements(matrix.content)) if matrix.kind == _MATRIX else []
            if parts and parts[0].content[0] == _STRUCT:
                return _structs(parts)
    except (struct.error, IndexError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"a damaged MATLAB file: {error}") from error
    raise ValueError("a MATLAB file without structs")


def _elements(content: bytes) -> Iterator[_Element]:
    """Yields the elements of a stretch of bytes."""
    at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<II", content, at)
        if kind >> 16:
            # A small element has its size beside its type and its content behind, within eight bytes.
            size = min(kind >> 16, 4)
            yield _Element(kind & 0xFFFF, content[at + 4 : at + 4 + size])
            at += 8
            continue
        if at + 8 + size > len(content):
            raise ValueError("a MATLAB file that was cut off")
        yield _Element(kind, content[at + 8 : at + 8 + size])
        at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _unpacked(element: _Element) -> _Element:
    """Returns an element, unpacked where it is compressed."""
    if element.kind != _COMPRESSED:
        return element
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(element.content, _MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"a MATLAB file of more than {_MOST_BYTES >> 20} MiB")
    return next(_elements(plain))


def _structs(parts: list[_Element]) -> list[dict[str, Value]]:
    """Reads an array of structs: flags, sizes, its name, the length of a field's name, names, fields."""
    width = int.from_bytes(parts[3].content[:4], "little")
    packed = parts[4].content
    if not width:
        raise ValueError("a MATLAB file without names of fields")
    names = [packed[at : at + width].split(b"\0")[0].decode("ascii") for at in range(0, len(packed), width)]
    values = [_value(part) for part in parts[5:]]
    return [
        dict(zip(names, values[at : at + len(names)], strict=False))
        for at in range(0, len(values), len(names))
    ]


def _value(element: _Element) -> Value:
    """Returns the text or the single number that a field holds."""
    parts = list(_elements(element.content))
    if len(parts) < 4:
        return None
    kind, content = parts[3]
    if parts[0].content[0] == _CHAR and kind in _TEXTS:
        return content.decode(_TEXTS[kind])
    if kind in _NUMBERS:
        numbers = np.frombuffer(content, "<" + _NUMBERS[kind])
        return float(numbers[0]) if len(numbers) == 1 else None
    return None


DIR = "ILSVRC2012_devkit_t12"
ARCHIVE = f"{DIR}.tar.gz"
_META, _TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"

# meta.mat lists the inner nodes of the tree as well; the classes of the challenge are the first 1000.
_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Devkit:
    """What the kit says.

    Args:
        source: Folder or archive, for messages.
        wnids: WordNet number of each ILSVRC2012_ID.
        words: Words of each WordNet number.
        truth: ILSVRC2012_ID of each validation image, in the order of their names.
    """

    source: Path
    wnids: dict[int, str]
    words: dict[str, str]
    truth: tuple[int, ...]


def find_devkit(root: Path) -> Devkit | None:
    """Reads the kit in a data set's folder, unpacked or not; None if there is none.

    Raises:
        UserError: The file is damaged.
    """
    if (root / DIR).is_dir():
        source = root / DIR
        contents = {name: _file(source / name) for name in (_META, _TRUTH)}
    elif (root / ARCHIVE).is_file():
        source = root / ARCHIVE
        contents = _members(source)
    else:
        return None
    try:
        structs = read_structs(contents[_META])
        truth = tuple(int(line) for line in contents[_TRUTH].split())
    except ValueError as error:
        raise UserError(f"{source} is damaged ({error})", "copy it again") from error
    return _devkit(source, structs, truth)


def _devkit(source: Path, structs: list[dict[str, Value]], truth: tuple[int, ...]) -> Devkit:
    """Puts the kit together.

    Raises:
        UserError: A class has no number or name.
    """
    wnids, words = {}, {}
    for row in structs:
        number, wnid, said = row.get("ILSVRC2012_ID"), row.get("WNID"), row.get("words")
        if not isinstance(number, float) or not isinstance(wnid, str) or not isinstance(said, str):
            raise UserError(f"{source}: a class in {_META} lacks its number or name", "copy it again")
        if number <= _CLASSES:
            wnids[int(number)], words[wnid] = wnid, said
    return Devkit(source, wnids, words, truth)


def _file(path: Path) -> bytes:
    """Reads a file of the kit.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {system_reason(error)}", "unpack the development kit again"
        ) from error


def _members(source: Path) -> dict[str, bytes]:
    """Reads the two files out of the archive.

    Raises:
        UserError: The archive is damaged or lacks one of them.
    """
    contents = {}
    try:
        with tarfile.open(source, "r:gz") as archive:
            for name in (_META, _TRUTH):
                member = archive.extractfile(f"{DIR}/{name}")
                contents[name] = b"" if member is None else member.read()
    except (OSError, tarfile.TarError, EOFError, KeyError) as error:
        raise UserError(
            f"{source} is not ILSVRC-2012's development kit ({error})", "copy it again"
        ) from error
    return contents


# Kaggle's CSV of ImageId and boxes; Caffe's list of file and index; TensorFlow's list of WordNet numbers.
LISTS = ("LOC_val_solution.csv", "val.txt", "imagenet_2012_validation_synset_labels.txt", "synset_labels.txt")


def validation_wnids(
    root: Path, images: Sequence[str], wnids: Sequence[str], devkit: Devkit | None
) -> dict[str, str]:
    """Returns the WordNet number of each validation image.

    Args:
        root: Folder that a list may stand in.
        images: Names of the images, sorted.
        wnids: Those of all classes, sorted.
        devkit: Where there is one; a list beside the data set is read first.

    Raises:
        UserError: There is no list, or it does not fit the images.
    """
    path = next((root / name for name in LISTS if (root / name).is_file()), None)
    if path is not None:
        by_name = _read_list(path, images, wnids)
    elif devkit is not None:
        _same_length(devkit.source, len(devkit.truth), images)
        by_name = _by_number(devkit, images)
    else:
        raise UserError(
            f"{root} says nowhere which classes the validation images are of",
            f"put ILSVRC2012_devkit_t12.tar.gz there, or one of {', '.join(LISTS)}",
        )
    return _checked(path or root, by_name, images, wnids)


def _by_number(devkit: Devkit, images: Sequence[str]) -> dict[str, str]:
    """Reads the ground truth of the development kit: an ILSVRC2012_ID an image.

    Raises:
        UserError: There is no such number.
    """
    for line, number in enumerate(devkit.truth, 1):
        if number not in devkit.wnids:
            raise UserError(
                f"{devkit.source}: line {line} of the validation ground truth is {number}, no class",
                "copy it again",
            )
    return {name: devkit.wnids[number] for name, number in zip(images, devkit.truth, strict=True)}


def _read_list(path: Path, images: Sequence[str], wnids: Sequence[str]) -> dict[str, str]:
    """Reads a list by its form.

    Raises:
        UserError: The list does not fit the images.
    """
    if path.suffix == ".csv":
        extensions = {name.rpartition(".")[0]: name for name in images}
        rows = (row for _, row in csv_rows(path, ("ImageId", "PredictionString")))
        return {
            extensions.get(row["ImageId"], row["ImageId"]): row["PredictionString"].split(" ")[0]
            for row in rows
        }
    lines = [line.split() for line in read_lines(path)]
    if all(len(line) == 1 for line in lines):
        _same_length(path, len(lines), images)
        return {name: line[0] for name, line in zip(images, lines, strict=True)}
    found = {}
    for number, words in enumerate(lines, 1):
        if len(words) != 2 or not words[1].isdecimal() or int(words[1]) >= len(wnids):
            raise UserError(
                f"{path} line {number} is no file and class index", f"indices are 0 to {len(wnids) - 1}"
            )
        found[words[0]] = wnids[int(words[1])]
    return found


def _same_length(path: Path, lines: int, images: Sequence[str]) -> None:
    """Checks that a list without names has as many lines as there are images.

    Raises:
        UserError: The numbers differ.
    """
    if lines != len(images):
        raise UserError(
            f"{path} labels {lines} validation images, and there are {len(images)}",
            "the list goes by the order of the images' names: all of them must be there",
        )


def _checked(
    path: Path, by_name: dict[str, str], images: Sequence[str], wnids: Sequence[str]
) -> dict[str, str]:
    """Returns the classes when every image has a known one, and every line an image.

    Raises:
        UserError: An image has no known class, or a line no image.
    """
    known = set(wnids)
    for name, wnid in by_name.items():
        if wnid not in known:
            what = "no class of train/" if WNID.fullmatch(wnid) else "no WordNet number"
            raise UserError(f"{path}: {wnid!r}, the class of {name}, is {what}", "copy the list again")
    lacking, beyond = sorted(set(images) - by_name.keys()), sorted(by_name.keys() - set(images))
    if lacking:
        raise UserError(f"{path} has no class for {lacking[0]} ({len(lacking)} images)", "copy it again")
    if beyond:
        raise UserError(
            f"{path} names {beyond[0]}, which is not there ({len(beyond)} images)",
            "copy the images again",
        )
    return by_name
