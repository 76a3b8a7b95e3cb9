"""The unpacked content of an archive at an address, fetched once."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from alexnet_fast.download.download import Address, OnProgress, download, parse_address
from alexnet_fast.download.unpack import unpack
from alexnet_fast.errors import UserError
from alexnet_fast.utils.atomic import disk_errors, lock_file, make_dir, write_atomically
from alexnet_fast.utils.cache_dir import ROOM, cache_dir
from alexnet_fast.utils.ranges import check_fields

_log = logging.getLogger("alexnet_fast")

_RECORD = "fetched.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """What may be fetched.

    Args:
        sha256: What the archive's SHA-256 must be; None for whatever comes.
        gibibytes: Most GiB of the archive, and of what it holds.
        allow_private: Whether the address may be of this machine or of its own network.

    Raises:
        UserError: A value is out of range.
    """

    sha256: str | None = None
    gibibytes: float = 16.0
    allow_private: bool = False

    def __post_init__(self) -> None:
        if self.sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", self.sha256):
            raise UserError(f"--sha256 {self.sha256} is none", "it has 64 hexadecimal digits", exit_code=2)
        check_fields(self)


def _silent(done: int, length: int | None) -> None:
    """Shows nothing."""
    del done, length


def fetch(url: str, config: FetchConfig | None = None, on_progress: OnProgress = _silent) -> Path:
    """Returns the folder of an archive's content, in the user's cache folder; it is fetched once.

    Args:
        url: An https address of a zip or tar.
        config: Limits.
        on_progress: As for `download.download`.

    Raises:
        UserError: The address is forbidden or unavailable, or the archive is too large or another one.
    """
    config = config or FetchConfig()
    address = parse_address(url)
    key = hashlib.sha256(f"{url}\n{(config.sha256 or '').lower()}".encode()).hexdigest()[:32]
    directory = cache_dir() / "archives" / key
    # It takes its place when it is whole, so that a copy can be used from a cache that cannot be written.
    if not _is_there(directory):
        make_dir(directory.parent)
        with _locked(directory.with_suffix(".lock")):
            # Another process may have fetched it meanwhile.
            if not _is_there(directory):
                _fetch(address, config, directory, on_progress)
                return _top(directory / "content")
    _log.warning("using the copy in %s; remove it to fetch %s again", directory, address.url)
    return _top(directory / "content")


def _is_there(directory: Path) -> bool:
    """Returns whether a folder holds what was fetched before."""
    return (directory / _RECORD).is_file()


def _fetch(address: Address, config: FetchConfig, directory: Path, on_progress: OnProgress) -> None:
    """Downloads and unpacks; to be called by whoever holds the lock.

    Raises:
        UserError: As for `fetch`.
    """
    work = directory.with_suffix(".partial")
    # What a killed process has left.
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)
    try:
        make_dir(work / "content")
        limit = int(config.gibibytes * 2**30)
        digest = download(
            address,
            work / "archive",
            limit=limit,
            allow_private=config.allow_private,
            on_progress=on_progress,
        )
        if config.sha256 is not None and digest != config.sha256.lower():
            raise UserError(
                f"{address.url} has the SHA-256 {digest}, not {config.sha256}", "do not trust this archive"
            )
        files = unpack(work / "archive", work / "content", limit=limit, called=address.url)
        (work / "archive").unlink()
        record = {"url": address.url, "sha256": digest, "files": files}
        write_atomically(work / _RECORD, json.dumps(record).encode())
        work.replace(directory)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Waits until no other process fetches the same.

    Raises:
        UserError: The file cannot be written, or not be locked.
    """
    with disk_errors(path, ROOM), path.open("w") as file:
        if not lock_file(file, wait=True):
            raise UserError(
                f"{path} is on a file system without locks, so that two could fetch into one folder",
                "set XDG_CACHE_HOME to another disk",
            )
        yield


def _top(content: Path) -> Path:
    """Returns the folder of the data set: most archives have a single one around everything."""
    entries = [entry for entry in content.iterdir() if not entry.name.startswith(".")]
    single = len(entries) == 1 and entries[0].is_dir() and entries[0].name != "train"
    return entries[0] if single and any(child.is_dir() for child in entries[0].iterdir()) else content
