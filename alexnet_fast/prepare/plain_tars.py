"""Compressed tars, unpacked once into a plain one: images are read out of the middle of it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import logging
import lzma
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

from alexnet_fast.data.shard_files import COMPRESSED, TAR_SUFFIX, compressed_suffix
from alexnet_fast.data.tar_members import unreadable
from alexnet_fast.errors import UserError
from alexnet_fast.utils.atomic import atomic_file, disk_errors, make_dir
from alexnet_fast.utils.cache_dir import ROOM, cache_dir

_log = logging.getLogger("alexnet_fast")

# By the first bytes: what a file is called does not decide.
_OPENERS: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x5d\x00\x00": lzma.LZMAFile,
}
_CHUNK = 1 << 20
# What Python can read, for messages.
_KNOWN = "gzip, bzip2 and xz"


def plain_tar(path: Path, limit: int) -> Path:
    """Returns an uncompressed tar of what a compressed one holds, in the user's cache folder; made once.

    Args:
        path: The tar; one that is not compressed is returned itself.
        limit: Maximum bytes that it may unpack to.

    Raises:
        UserError: Python does not know the compression, the file is damaged, or holds more than the limit.
    """
    suffix = compressed_suffix(path.name)
    try:
        with path.open("rb") as file:
            beginning = file.read(8)
        mark = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    opener = next((opener for magic, opener in _OPENERS.items() if beginning.startswith(magic)), None)
    if opener is None:
        if suffix is None:
            return path
        raise UserError(
            f"{path} is compressed in a way that is not read here ({_KNOWN} are)",
            f"unpack it with {COMPRESSED[suffix]}",
        )
    stem = path.name[: -len(suffix)] if suffix else path.stem
    key = f"{path.resolve()}\n{mark.st_size}\n{mark.st_mtime_ns}\n{mark.st_ino}"
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    plain = cache_dir() / "tars" / digest / f"{stem}{TAR_SUFFIX}"
    if not plain.exists():
        _unpack(path, opener, plain, limit)
        _log.warning("unpacked %s into %s, which may be removed", path, plain)
    return plain


def _unpack(path: Path, opener: Callable[[Path], io.BufferedIOBase], plain: Path, limit: int) -> None:
    """Writes the plain tar."""
    make_dir(plain.parent)
    left = limit
    try:
        with disk_errors(plain.parent, ROOM), atomic_file(plain) as out, opener(path) as content:
            while chunk := _read(content, path):
                left -= len(chunk)
                if left < 0:
                    raise UserError(
                        f"{path} holds more than {limit / 2**30:g} GiB",
                        "give a larger --max-download if you trust it",
                    )
                out.write(chunk)
    except BaseException:
        shutil.rmtree(plain.parent, ignore_errors=True)
        raise


def _read(content: io.BufferedIOBase, path: Path) -> bytes:
    """Returns the next bytes of an unpacked file.

    Raises:
        UserError: The file is damaged.
    """
    try:
        return content.read(_CHUNK)
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise UserError(f"{path} is damaged, or was cut off ({error})", "copy it again") from error
