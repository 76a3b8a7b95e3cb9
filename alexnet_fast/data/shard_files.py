"""The tars in a folder: which split each belongs to. None is passed over."""

from __future__ import annotations

import collections
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from alexnet_fast.data.class_map import SUMMARY
from alexnet_fast.data.entries import WRITTEN_BY_PREPARE, Ignored, is_directory, read_directory
from alexnet_fast.data.image_names import why_ignored, why_junk
from alexnet_fast.data.split_names import SPLITS, split_of
from alexnet_fast.errors import UserError

TAR_SUFFIX = ".tar"
# How a compressed tar is called, and what makes a plain one of it.
COMPRESSED = {
    ".tar.gz": "gunzip",
    ".tgz": "gunzip",
    ".tar.bz2": "bunzip2",
    ".tbz2": "bunzip2",
    ".tbz": "bunzip2",
    ".tar.xz": "unxz",
    ".txz": "unxz",
    ".tar.lzma": "unxz",
    ".tar.zst": "unzstd",
    ".tar.zstd": "unzstd",
    ".tzst": "unzstd",
    ".tar.lz4": "unlz4",
    ".tar.z": "uncompress",
    ".tar.br": "brotli -d",
}
BESIDE_TARS = "images beside tars"
# What `prepare --shards`, `wds2idx` and DALI keep beside a tar.
_OF_A_TAR = (".idx", ".npz")
_WORD = re.compile("[a-z]+")
# train-000012.tar, or train-00012-of-00100.tar.
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d+)(?P<of>-of-(?P<count>\d+))?(?P<behind>\D*)", re.DOTALL)

# For each that is there.
_MOST_MISSING = 20

_log = logging.getLogger("alexnet_fast")


def is_tar(name: str) -> bool:
    """Returns, by its name, whether a file is an uncompressed tar."""
    return name.lower().endswith(TAR_SUFFIX)


def compressed_suffix(name: str) -> str | None:
    """Returns the ending that says that a tar is compressed; None for another file."""
    return next((suffix for suffix in COMPRESSED if name.lower().endswith(suffix)), None)


def split_of_tar(tar: Path) -> str:
    """Returns the split that a shard belongs to by its name (train-000.tar, imagenet-val-07.tar), or "".

    Raises:
        UserError: The name has the words of two splits.
    """
    stem = tar.name.lower().partition(".tar")[0].partition(".tgz")[0]
    found = {split_of(word) for word in _WORD.findall(stem)} - {""}
    if len(found) > 1:
        raise UserError(
            f"{tar} names several splits: {', '.join(sorted(found))}",
            "rename it, or put the tars of each split into train/, val/ and test/",
        )
    return found.pop() if found else ""


def shards_in(root: Path, *, compressed: bool = False) -> list[Path]:
    """Returns the tars in a folder, sorted; hidden ones are left out.

    Args:
        root: The folder.
        compressed: Whether compressed ones are wanted too.

    Raises:
        UserError: One of them is no file, or is compressed where that is not wanted.
    """
    names = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    packed = [path for path in names if compressed_suffix(path.name)]
    if packed and not compressed:
        suffix = compressed_suffix(packed[0].name)
        raise UserError(
            f"{packed[0]}{_and_more(packed)} is compressed, and images are read out of the middle of a tar",
            f"unpack it with {COMPRESSED[suffix or '']}, or let alexnet-fast prepare read it",
        )
    tars = [path for path in names if is_tar(path.name) or path in packed]
    for tar in tars:
        if not tar.is_file() and not tar.is_dir():
            raise UserError(f"{tar} is no file", "remove it, or restore what it is a link to")
    return [tar for tar in tars if tar.is_file()]


def beside_tars(root: Path, ignored: Ignored, *, compressed: bool = False) -> None:
    """Counts the files that stand beside the tars of a folder and are not read.

    Args:
        root: The folder.
        ignored: Receives them.
        compressed: Whether compressed tars are read too.
    """
    for entry in read_directory(root):
        name = entry.name
        read = is_tar(name) or (compressed and compressed_suffix(name))
        if is_directory(entry) or (read and why_junk(name) is None):
            continue
        ours = name == SUMMARY or name.lower().endswith(_OF_A_TAR)
        ignored.add(name, WRITTEN_BY_PREPARE if ours else why_ignored(name) or BESIDE_TARS)


def warn_of_mixed_splits(root: Path, tars: Iterable[Path]) -> None:
    """Says that the tars of several splits are read as one, where their names say so."""
    words = {split_of(word) for tar in tars for word in _WORD.findall(tar.name.lower())} - {""}
    if len(words) > 1:
        splits = " and ".join(split for split in SPLITS if split in words)
        _log.warning("%s has shards of %s, and all of them are read as one split", root, splits)


def by_split(root: Path, tars: Iterable[Path]) -> dict[str, tuple[Path, ...]]:
    """Divides the tars of a folder by the splits that their names say.

    Args:
        root: The folder, for messages.
        tars: Full paths.

    Returns:
        Tars by split, in the order of `SPLITS`; all of them as "all" where no name says a split.

    Raises:
        UserError: Some names say a split, and others do not.
    """
    found: dict[str, list[Path]] = collections.defaultdict(list)
    for tar in tars:
        found[split_of_tar(tar)].append(tar)
    nameless = found.pop("", [])
    if nameless and found:
        beside = ", ".join(f"{split} shards" for split in SPLITS if split in found)
        raise UserError(
            f"{nameless[0]}{_and_more(nameless)} stands beside {beside} and names no split",
            f"call it train-{nameless[0].name}, val-... or test-..., or move it out of {root}",
        )
    if nameless:
        found["all"] = nameless
    warn_of_gaps(tar for tars in found.values() for tar in tars)
    return {split: tuple(found[split]) for split in (*SPLITS, "all") if split in found}


def warn_of_gaps(tars: Iterable[Path]) -> None:
    """Says which numbers are missing in a row of numbered shards."""
    rows: dict[tuple[str, ...], dict[int, Path]] = collections.defaultdict(dict)
    for tar in tars:
        match = _NUMBERED.fullmatch(tar.stem)
        if match:
            key = (match["before"], str(len(match["number"])), match["count"] or "", match["behind"])
            rows[key][int(match["number"])] = tar
    for (before, width, count, behind), row in rows.items():
        first, last = min(row), max(row)
        if count:
            # Some count from 0, some from 1.
            last = max(last, int(count) - (first == 0))
        # Numbers further apart are no row, but dates or so.
        a_row = last - first < _MOST_MISSING * len(row)
        missing = sorted(set(range(first, last + 1)) - row.keys()) if a_row else []
        if missing:
            of = f"-of-{count}" if count else ""
            name = f"{before}{missing[0]:0{width}d}{of}{behind}.tar"
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            _log.warning("%s%s is missing: %d of its row are there", name, more, len(row))


def _and_more(paths: list[Path]) -> str:
    """Returns how many there are beyond the first."""
    return f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""


def in_shard(tar: Path, name: str) -> str:
    """Returns what an image is called whose name several tars of its split have."""
    return f"{tar.name[: -len(TAR_SUFFIX)]}/{name}"
