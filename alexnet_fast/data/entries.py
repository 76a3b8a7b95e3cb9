"""What a directory holds, entry by entry: what is listed, and what is ignored for which reason.

One mechanism for `train`, `scan`, `prepare`, `predict` and everything else that walks through directories, so
that nothing vanishes: every entry is listed, entered, or noted in an `Ignored`. Entries are judged by their
names and by what `os.scandir` says of them without asking the disk again: a list of a million images takes
no `stat` per file. So a link to nowhere, a device or a pipe with the name of an image is listed; reading it
fails in one line, and `--on-bad-image` decides.
"""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from alexnet_fast.data.image_names import why_ignored, why_not_entered
from alexnet_fast.errors import UserError, system_reason

# (device, inode) of a directory.
_Identity = tuple[int, int]

LINK_UPWARDS = "a link to a folder that it lies in"
LINK_AGAIN = "a link to a folder that is listed already"
LINK_NOWHERE = "a link that leads nowhere"
VANISHED = "gone while it was being listed"
# Every prepared data set has such a file: it is counted, and said only where it is asked for.
WRITTEN_BY_PREPARE = "written by prepare"

_MOST_REASONS = 6


class Ignored:
    """Counts the entries that are not listed, by reason; with `names=True` it keeps their names too.

    An ignored directory is one entry, whose name ends in "/"; a link to one is an entry without it.

    Args:
        names: Whether the names are kept. A reason alone takes no memory, however many entries there are.
    """

    def __init__(self, *, names: bool = False) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.entries: list[tuple[str, str]] = []
        self._names = names

    def add(self, name: str, reason: str) -> None:
        """Notes one entry, by its path below the data set's directory."""
        self.counts[reason] += 1
        if self._names:
            self.entries.append((name, reason))

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """Adds what another one counted."""
        self.counts.update(counts)

    def __len__(self) -> int:
        return self.counts.total()

    def summary(self) -> str:
        """Returns the counts in one line, the largest first; empty where nothing was ignored."""
        counts = self.counts.copy()
        del counts[WRITTEN_BY_PREPARE]
        most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_REASONS]
        rest = counts.total() - sum(count for _, count in most)
        told = [f"{count} {reason}" for reason, count in most]
        return ", ".join(told + [f"{rest} for other reasons"] * (rest > 0))


def is_directory(entry: os.DirEntry[str]) -> bool:
    """Returns whether an entry is a directory, also by a link; a link to itself or to nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def read_directory(path: str | Path) -> list[os.DirEntry[str]]:
    """Returns the entries of a directory.

    Raises:
        UserError: It is missing, is no directory or cannot be read.
    """
    try:
        return _entries(path)
    except FileNotFoundError as error:
        raise UserError(f"no such folder: {path}", "check the path", exit_code=2) from error
    except NotADirectoryError as error:
        raise UserError(
            f"{path} is a file", "give the folder that holds the class folders", exit_code=2
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _entries(path: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return list(entries)


def unreadable(path: str | Path, error: OSError) -> UserError:
    """Returns the error for a directory that is there and cannot be read."""
    if isinstance(error, PermissionError):
        return UserError(f"no permission to read {path}", f"chmod u+rx '{path}'")
    return UserError(f"cannot read {path}: {system_reason(error)}", "check the path and the disk")


class Walk:
    """The files below one directory; what links lead to is entered once, so that no walk is endless.

    Args:
        top: The directory.
        why_not: Returns why a file of a name is not listed; None for one that is.
        ignored: Receives what is not listed.
        visit: Called with the path of each directory before it is read; returns its status.
    """

    def __init__(
        self,
        top: str | Path,
        why_not: Callable[[str], str | None] = why_ignored,
        ignored: Ignored | None = None,
        visit: Callable[[str], os.stat_result] = os.stat,
    ) -> None:
        self._top, self._why_not, self._visit = os.fspath(top), why_not, visit
        self._ignored = Ignored() if ignored is None else ignored
        self._entered: set[_Identity] = set()
        self._links: list[tuple[str, str]] = []
        self._above: frozenset[_Identity] | None = None

    def files(self, prefix: str = "") -> Iterator[str]:
        """Yields the name of each file that is listed, below `prefix`, in no particular order.

        Directories come before links to directories, and those sorted: which way to a directory counts does
        not depend on the disk's order.

        Raises:
            UserError: A directory cannot be read.
        """
        yield from self._below(self._top, prefix)
        while self._links:
            links, self._links = sorted(self._links), []
            for path, name in links:
                yield from self._behind(path, name)

    def _behind(self, path: str, name: str) -> Iterator[str]:
        """Yields the files behind a link to a directory, unless the way leads in a circle."""
        try:
            identity = _identity(os.stat(path))  # noqa: PTH116 - as in `Walk`
        except OSError:
            self._ignored.add(name, LINK_NOWHERE)
            return
        if identity in self._directories_above():
            self._ignored.add(name, LINK_UPWARDS)
        elif identity in self._entered:
            self._ignored.add(name, LINK_AGAIN)
        else:
            yield from self._below(path, f"{name}/")

    def _below(self, path: str, prefix: str) -> Iterator[str]:
        """Yields the files below a directory, and keeps the links to directories for later."""
        why_not, ignored = self._why_not, self._ignored
        for entry in self._entries(path, prefix):
            name = entry.name
            if not is_directory(entry):
                reason = why_not(name)
                if reason is None:
                    yield prefix + name
                else:
                    ignored.add(prefix + name, LINK_NOWHERE if leads_nowhere(entry) else reason)
                continue
            reason = why_not_entered(name)
            if reason is not None:
                ignored.add(f"{prefix}{name}/", reason)
            elif entry.is_symlink():
                self._links.append((entry.path, prefix + name))
            else:
                yield from self._below(entry.path, f"{prefix}{name}/")

    def _entries(self, path: str, prefix: str) -> list[os.DirEntry[str]]:
        """Returns what a directory holds; nothing where it has gone since its name was read."""
        try:
            self._entered.add(_identity(self._visit(path)))
            return _entries(path)
        except (FileNotFoundError, NotADirectoryError):
            if path != self._top:
                self._ignored.add(prefix, VANISHED)
            return []
        except OSError as error:
            raise unreadable(path, error) from error

    def _directories_above(self) -> frozenset[_Identity]:
        """Returns the directories that the top lies in, by its name and by where links lead."""
        if self._above is None:
            self._above = directories_above(self._top)
        return self._above


def directories_above(path: str | Path) -> frozenset[_Identity]:
    """Returns the identities of the directories that a path lies in, with and without following links."""
    places = [Path(os.path.abspath(path)), Path(os.path.realpath(path))]  # noqa: PTH100 - links stay links
    found = set()
    for above in {directory for place in places for directory in place.parents}:
        # What cannot be looked at, no link can lead to either.
        with contextlib.suppress(OSError):
            found.add(_identity(above.stat()))
    return frozenset(found)


def leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Returns whether an entry is a link to nothing, or to itself; the disk is asked for links alone."""
    return entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110 - as in `Walk`


def leads_upwards(entry: os.DirEntry[str], root: str | Path) -> bool:
    """Returns whether an entry of `root` is a link to `root` or to a directory that it lies in."""
    try:
        return entry.is_symlink() and _identity(entry.stat()) in directories_above(Path(root) / entry.name)
    except OSError:
        return False


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
