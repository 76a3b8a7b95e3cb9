"""A list of labelled images: loose files, or stretches of tars."""

from __future__ import annotations

import array
import copy
import dataclasses
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.utils.arrays import Integers


class StringArray(Sequence[str]):
    """Strings in one buffer: a million file names take 40 MB instead of 120, and a selection shares them.

    Bytes that are not UTF-8 are kept, as in every path that Python gives (`os.fsdecode`).

    Args:
        buffer: All names, one behind the other.
        starts: int64 (N,), where each name begins.
        stops: int64 (N,), where it ends.
    """

    def __init__(self, buffer: bytes, starts: Integers, stops: Integers) -> None:
        self._buffer, self._starts, self._stops = buffer, starts, stops

    @classmethod
    def of(cls, names: Iterable[str]) -> StringArray:
        """Packs names."""
        if isinstance(names, StringArray):
            return names
        builder = StringArrayBuilder()
        for name in names:
            builder.add(name)
        return builder.done()

    @classmethod
    def unpack(cls, arrays: Mapping[str, npt.NDArray[Any]], name: str, stops: str) -> StringArray:
        """Reads what `pack` returned."""
        return cls._from_stops(arrays[name].tobytes(), arrays[stops])

    @classmethod
    def _from_stops(cls, buffer: bytes, stops: Integers) -> StringArray:
        starts = np.zeros_like(stops)
        starts[1:] = stops[:-1]
        return cls(buffer, starts, stops)

    def pack(self, name: str, stops: str) -> dict[str, npt.NDArray[Any]]:
        """Returns two arrays, by name: the strings without gaps, uint8; the end of each, int64 (N,)."""
        buffer = np.frombuffer(b"".join(self.encoded()), np.uint8)
        return {name: buffer, stops: np.cumsum(self._stops - self._starts)}

    def encoded(self) -> Iterator[bytes]:
        """Yields each name as bytes."""
        for start, stop in zip(self._starts.tolist(), self._stops.tolist(), strict=True):
            yield self._buffer[start:stop]

    def select(self, keep: Integers) -> StringArray:
        """Returns the names at the given positions, in that order."""
        return StringArray(self._buffer, self._starts[keep], self._stops[keep])

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> StringArray: ...
    def __getitem__(self, index: int | slice) -> str | StringArray:
        if isinstance(index, slice):
            return StringArray(self._buffer, self._starts[index], self._stops[index])
        return os.fsdecode(self._buffer[self._starts[index] : self._stops[index]])

    def __iter__(self) -> Iterator[str]:
        return map(os.fsdecode, self.encoded())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(b"".join(self.encoded()))

    def __repr__(self) -> str:
        return f"StringArray({', '.join(map(repr, self[:3]))}{', ...' if len(self) > 3 else ''}; {len(self)})"


class StringArrayBuilder:
    """Packs names one by one."""

    def __init__(self) -> None:
        self._buffer, self._stops = bytearray(), array.array("q")

    def add(self, name: str) -> None:
        """Adds a name at the end."""
        self._buffer += os.fsencode(name)
        self._stops.append(len(self._buffer))

    def done(self) -> StringArray:
        """Returns the names."""
        return StringArray._from_stops(bytes(self._buffer), np.array(self._stops, np.int64))


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


Encoding = Literal["image", "array"]

# JPEG, JPEG 2000, PNG, BMP, TIFF, WebP, PNM and GIF, of which the first image counts; a file's content
# decides how it is decoded, its ending only whether it is listed.
IMAGE_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".png", ".apng", ".bmp", ".dib", ".tif", ".tiff"}
    | {".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".webp", ".gif", ".pnm", ".ppm", ".pgm", ".pbm"}
)
# uint8 arrays (H, W, 3), as `prepare --encoding raw` writes them.
ARRAY_SUFFIX = ".npy"


@dataclasses.dataclass(frozen=True, eq=False)
class Stretches:
    """Where images lie in tars.

    Args:
        tars: Full paths.
        tar: int64 (N,), which of them.
        offset: int64 (N,), in bytes.
        size: int64 (N,), in bytes.
    """

    tars: tuple[str, ...]
    tar: Integers
    offset: Integers
    size: Integers

    def select(self, keep: Integers) -> Stretches:
        """Returns those at the given positions."""
        return Stretches(self.tars, self.tar[keep], self.offset[keep], self.size[keep])


class ImageList:
    """Labelled images in a stable order, in some 40 bytes an image.

    Args:
        root: Folder that the names are relative to.
        names: What each image is called, with "/" between the parts: its path below `root`, or below the
            folder that a tar was made from.
        labels: Class index of each image, parallel to `names`.
        classes: The names of the labels.
        stretches: Where the images lie in tars; None where each is a file of its own.
        encoding: "image" where they are encoded, "array" for uint8 (H, W, 3) in .npy files.
        sizes: int32 (N, 2), height and width of each upright image, where they are known without reading.
        points: float64 (N,), what `split_points` returns, where it is known.

    Attributes:
        ignored: Entries of the folders that are not listed, counted by reason; a selection has none.
        blocked: Index and reason of the images that no decoder may see again; they count as bad.
    """

    def __init__(
        self,
        *,
        root: Path,
        names: Sequence[str],
        labels: Sequence[int] | npt.NDArray[np.integer],
        classes: ClassMap,
        stretches: Stretches | None = None,
        encoding: Encoding = "image",
        sizes: npt.NDArray[np.int32] | None = None,
        points: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.root, self.classes = root, classes
        self.names = StringArray.of(names)
        self.labels: Integers = np.asarray(labels, np.int64)
        self.stretches, self.encoding, self.sizes = stretches, encoding, sizes
        self._points = points
        self.ignored: Mapping[str, int] = {}
        self.blocked: Mapping[int, str] = {}
        self._fingerprint: str | None = None

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Returns the full path of one image; for one in a tar what a message calls it."""
        if self.stretches is None:
            return os.path.join(self.root, self.names[index])  # noqa: PTH118 - called for every image
        return f"{self.stretches.tars[self.stretches.tar[index]]}: {self.names[index]}"

    def location(self, index: int) -> Location:
        """Returns where the bytes of one image are."""
        if index in self.blocked:
            return BlockedLocation(self.blocked[index])
        found = self.stretches
        if found is None:
            return FileLocation(self.path(index))
        return TarLocation(found.tars[found.tar[index]], int(found.offset[index]), int(found.size[index]))

    def counts(self) -> tuple[int, ...]:
        """Returns how many images each class has."""
        return tuple(np.bincount(self.labels, minlength=len(self.classes)).tolist())

    def select(self, keep: Sequence[int] | npt.NDArray[np.integer]) -> ImageList:
        """Returns the images at the given positions, in that order."""
        at = np.asarray(keep, np.int64)
        locations = enumerate(at.tolist()) if self.blocked else ()
        chosen = ImageList(
            root=self.root,
            names=self.names.select(at),
            labels=self.labels[at],
            classes=self.classes,
            stretches=self.stretches and self.stretches.select(at),
            encoding=self.encoding,
            sizes=None if self.sizes is None else self.sizes[at],
            points=None if self._points is None else self._points[at],
        )
        return chosen.blocking({new: self.blocked[old] for new, old in locations if old in self.blocked})

    def blocking(self, reasons: Mapping[int, str]) -> ImageList:
        """Returns the same list with more images that no decoder may see; order and batches stay as they are.

        Args:
            reasons: Why, by index.
        """
        if not reasons:
            return self
        blocked = copy.copy(self)
        blocked.blocked = {**self.blocked, **reasons}
        return blocked

    def without(self, names: Collection[str]) -> ImageList:
        """Returns the list less the images of these names."""
        gone = {os.fsencode(name) for name in names}
        if not gone:
            return self
        return self.select(np.flatnonzero([name not in gone for name in self.names.encoded()]))

    def split_points(self) -> npt.NDArray[np.float64]:
        """Returns a fixed point in [0, 1) for each image, by its name: below the fraction means validation.

        It depends on the name alone, without its ending, so that an image never changes sides when others
        are added or removed, or when `prepare` stores it in another format.
        """
        if self._points is None:
            self._points = split_points(self.names)
        return self._points

    def fingerprint(self) -> str:
        """Returns a SHA-256 over names and classes: two lists with one fingerprint give one data order."""
        if self._fingerprint is None:
            digest = hashlib.sha256("\n".join(self.classes.names).encode("utf-8", "surrogateescape"))
            for name, label in zip(self.names.encoded(), self.labels.tolist(), strict=True):
                digest.update(b"\n%d %s" % (label, name))
            self._fingerprint = digest.hexdigest()
        return self._fingerprint


def split_points(names: StringArray) -> npt.NDArray[np.float64]:
    """Returns the points of names; see `ImageList.split_points`."""
    digests = b"".join(hashlib.sha256(_without_suffix(name)).digest()[:8] for name in names.encoded())
    return np.frombuffer(digests, ">u8").astype(np.float64) / 2**64


def _without_suffix(name: bytes) -> bytes:
    """Returns a name up to its last dot, as `os.path.splitext` does, which is slow for a million of them."""
    dot = name.rfind(b".")
    return name[:dot] if dot > name.rfind(b"/") + 1 else name
