"""Which images a run began with, so that a later change can be named."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from alexnet_fast.data import Splits
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import read_given


def record_images(path: Path, splits: Splits) -> None:
    """Writes the names of the images, one a line with their part in front.

    Raises:
        UserError: The file cannot be written.
    """
    lines = sorted(_lines(splits))
    # Without the time of day in it, the same images give the same file.
    write_atomically(path, gzip.compress("\n".join(lines).encode("utf-8", "surrogateescape"), mtime=0))


def describe_change(path: Path, splits: Splits) -> str:
    """Says what differs from the recorded images.

    Returns:
        A phrase such as "2 are gone, the first is train/cat/1.jpg"; empty where nothing is recorded.
    """
    try:
        before = set(gzip.decompress(read_given(path)).decode("utf-8", "surrogateescape").split("\n"))
    except (OSError, EOFError, zlib.error):
        return ""
    now = set(_lines(splits))
    changes = ((before - now, "gone"), (now - before, "new"))
    return " and ".join(
        f"{len(names)} {'is' if len(names) == 1 else 'are'} {what} ({min(names)}{', …' * (len(names) > 1)})"
        for names, what in changes
        if names
    )


def _lines(splits: Splits) -> list[str]:
    """Returns a line an image of both parts that a run uses."""
    parts = {"train": splits.train, "val": splits.val}
    return [f"{part}/{name}" for part, images in parts.items() for name in images.names]
