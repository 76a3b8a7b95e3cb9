"""Where the bytes of an image are."""

from __future__ import annotations

from typing import NamedTuple


class FileLocation(NamedTuple):
    """A file of its own.

    Args:
        path: Of the file.
    """

    path: str


class TarLocation(NamedTuple):
    """A stretch of an uncompressed tar, which is never unpacked.

    Args:
        path: Of the tar.
        offset: Where the image begins, in bytes.
        size: Its bytes.
    """

    path: str
    offset: int
    size: int


class BlockedLocation(NamedTuple):
    """In the place of an image that must not be decoded: a decoder has died of it.

    Args:
        reason: What it is called bad for, one line.
    """

    reason: str


Location = FileLocation | TarLocation | BlockedLocation
