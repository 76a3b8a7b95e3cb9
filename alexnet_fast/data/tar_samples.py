"""WebDataset tars: samples of `KEY.jpg` and `KEY.cls` (or `KEY.json`), found by their headers.

Nothing is unpacked, so nothing can land elsewhere.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from alexnet_fast.data.class_map import check_class
from alexnet_fast.errors import UserError, system_reason

PARTS = ("train", "val", "test")

# A file of this size is no photograph, and reading it would take the memory of its worker.
FILE_BYTES_LIMIT = 512 << 20
_LONGEST_LABEL = {".cls": 1024, ".json": 1 << 20}
_JSON_KEYS = ("cls", "label", "class")
_PART = re.compile("(?<![a-z])(" + "|".join(PARTS) + ")(?![a-z])")


class TarSample(NamedTuple):
    """A picture in a tar, and its class.

    Args:
        label: As it stands there: a name or a number.
        name: Of the picture's member.
        offset: Where the picture begins, in bytes.
        size: Its bytes.
    """

    label: str
    name: str
    offset: int
    size: int


def tar_members(path: Path) -> Iterator[tarfile.TarInfo]:
    """Yields what a tar holds besides folders.

    Raises:
        UserError: It is no uncompressed tar.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isdir():
                    yield member
                # tarfile keeps every header that it has seen: a million of them take a gigabyte.
                archive.members = []  # type: ignore[attr-defined, unused-ignore]
    except (tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{path} is not an uncompressed tar ({error})", "unpack it, or copy it again"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error


def safe_name(path: Path, name: str) -> str:
    """Returns a member's name without "." parts.

    Raises:
        UserError: It is absolute or leads upwards; an archive that tries this is refused whole.
    """
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or "\0" in name:
        raise UserError(f"{path} holds {name!r}, a name that leads out of it", "do not trust this archive")
    return "/".join(part for part in parts if part != ".")


def part_of(tar: Path) -> str:
    """Returns the part that a shard belongs to by its name (train-000.tar, imagenet-val-07.tar), or ""."""
    match = _PART.search(tar.stem.lower())
    return match.group(1) if match else ""


def _opened(path: Path) -> IO[bytes]:
    """Opens a tar.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot read {path}: {system_reason(error)}")


def tar_samples(path: Path, endings: Collection[str]) -> Iterator[TarSample]:
    """Yields the samples of one shard.

    Args:
        path: The tar.
        endings: Of pictures, in small letters.

    Raises:
        UserError: A sample lacks its class or its picture.
    """
    pictures: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, str] = {}
    with _opened(path) as content:
        for member in tar_members(path):
            name = safe_name(path, member.name)
            ending = PurePosixPath(name).suffix.lower()
            if not member.isreg() or member.issparse() or member.size > FILE_BYTES_LIMIT:
                continue
            if ending == ".cls" or (ending == ".json" and _key(name) not in labels):
                found = _label(content, path, member, ending)
                labels |= {} if found is None else {_key(name): found}
            elif ending in endings:
                pictures[_key(name)] = member
    lonely = sorted(labels.keys() ^ pictures.keys())
    if lonely:
        lacks = "class" if lonely[0] in pictures else "picture"
        raise UserError(f"sample {lonely[0]} in {path} has no {lacks}", "each needs KEY.jpg and KEY.cls")
    for key, member in pictures.items():
        yield TarSample(labels[key], safe_name(path, member.name), member.offset_data, member.size)


def number_names(labels: Collection[str]) -> dict[str, str]:
    """Returns the class name of each label: numbers get leading zeros, so that they sort as numbers."""
    if not all(label.isascii() and label.isdigit() for label in labels):
        return {label: label for label in labels}
    width = max((len(str(int(label))) for label in labels), default=0)
    return {label: str(int(label)).zfill(width) for label in labels}


def _key(name: str) -> str:
    """Returns what the members of a sample share: the name up to the first dot of the file."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}".lstrip("/")


def _label(content: IO[bytes], path: Path, member: tarfile.TarInfo, ending: str) -> str | None:
    """Reads a class; None where a .json does not hold one."""
    where = f"{member.name} in {path}"
    if member.size > _LONGEST_LABEL[ending]:
        raise UserError(f"{where} is too long for a class", "it holds a number or a name")
    content.seek(member.offset_data)
    text = content.read(member.size).decode("utf-8", "replace").strip()
    if ending == ".cls":
        return check_class(text, where)
    try:
        plain = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is not JSON ({error})", "copy the tar again") from error
    values = [plain[key] for key in _JSON_KEYS if isinstance(plain, dict) and key in plain]
    return check_class(str(values[0]), where) if values else None
