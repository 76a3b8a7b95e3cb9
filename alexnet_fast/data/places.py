"""Where the bytes of a picture are."""

from __future__ import annotations

from typing import NamedTuple


class FilePlace(NamedTuple):
    """A file of its own.

    Args:
        path: Of the file.
    """

    path: str


class TarPlace(NamedTuple):
    """A stretch of an uncompressed tar, which is never unpacked.

    Args:
        path: Of the tar.
        offset: Where the picture begins, in bytes.
        size: Its bytes.
    """

    path: str
    offset: int
    size: int


Place = FilePlace | TarPlace
