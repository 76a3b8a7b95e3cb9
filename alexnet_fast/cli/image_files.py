"""Expand arguments to image files: files as they are, folders with everything below them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alexnet_fast.cli.command import say
from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from alexnet_fast.data.entries import Ignored

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def image_files(arguments: Iterable[Path]) -> tuple[list[Path], dict[str, int]]:
    """Returns the files of each argument in order, and the number of ignored entries by reason.

    A folder is replaced by all images below it, sorted by name; one line per folder reports what is ignored
    there and why.

    Raises:
        UserError: A folder holds no image or cannot be read.
    """
    from alexnet_fast.data.entries import Ignored

    files: list[Path] = []
    counts = Ignored()
    for argument in arguments:
        if argument.is_dir():
            ignored = Ignored()
            files += _below(argument, ignored)
            counts.add_counts(ignored.counts)
        else:
            # Even a pipe, such as `<(command)`: reading it is limited in time and size.
            files.append(argument)
    return files, dict(counts.counts)


def special_kind(path: str | Path) -> str | None:
    """Returns the kind of a special file; None for files, folders and missing paths."""
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))  # noqa: PTH116 - called for every file
    except OSError:
        return None


def _below(directory: Path, ignored: Ignored) -> list[Path]:
    """Returns the images below a folder.

    Raises:
        UserError: There is no image, or a folder cannot be read.
    """
    names = sorted(_regular(directory, ignored))
    if not names:
        raise UserError(
            f"no images in {directory}" + (f" (ignored: {ignored.summary()})" if len(ignored) else ""),
            "give a folder of images, or image files",
            exit_code=2,
        )
    if len(ignored):
        say(f"ignored in {directory}: {ignored.summary()}")
    return [directory / name for name in names]


def _regular(directory: Path, ignored: Ignored) -> Iterator[str]:
    """Yields the names below a folder that can be read without waiting for a writer."""
    from alexnet_fast.data.entries import Walk

    for name in Walk(directory, ignored=ignored).files():
        kind = special_kind(f"{directory}/{name}")
        if kind is None:
            yield name
        else:
            ignored.add(name, f"{kind} with the name of an image")
