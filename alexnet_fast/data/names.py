"""Many names in little memory."""

from __future__ import annotations

import array
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


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
    def unpack(cls, buffer: bytes, stops: Integers) -> StringArray:
        """Reads what `pack` returned."""
        starts = np.zeros_like(stops)
        starts[1:] = stops[:-1]
        return cls(buffer, starts, stops)

    def pack(self) -> tuple[bytes, Integers]:
        """Returns the names without gaps, and int64 (N,), where each ends."""
        return b"".join(self.encoded()), np.cumsum(self._stops - self._starts)

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
        return hash(self.pack()[0])

    def __repr__(self) -> str:
        return f"Names({', '.join(map(repr, self[:3]))}{', ...' if len(self) > 3 else ''}; {len(self)})"


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
        return StringArray.unpack(bytes(self._buffer), np.array(self._stops, np.int64))
