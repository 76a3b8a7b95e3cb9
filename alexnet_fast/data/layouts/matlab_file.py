"""MATLAB 5 files, as far as ILSVRC-2012's meta.mat needs them: arrays of structs of numbers and texts.

The format is described in MathWorks' "MAT-File Format", chapter 1:
https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Data types of an element (table 1-1) and array types of a matrix (table 1-3) that meta.mat uses.
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16-le", 16: "utf-8", 17: "utf-16-le", 18: "utf-32-le"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHAR = 2, 4

_HEADER_BYTES = 128
# meta.mat has some 0.5 MB when unpacked; a file that grows beyond this is not it.
_MOST_BYTES = 64 << 20

Value = str | float | None


class _Element(NamedTuple):
    """A tagged piece of the file."""

    kind: int
    content: bytes


def read_structs(content: bytes) -> list[dict[str, Value]]:
    """Returns the structs of the first array of structs in a file.

    A field is a text, a number, or None for everything else.

    Raises:
        ValueError: It is no such file, or has none.
    """
    if len(content) < _HEADER_BYTES or content[126:128] != b"IM":
        raise ValueError("no MATLAB 5 file")
    try:
        for element in _elements(content[_HEADER_BYTES:]):
            matrix = _unpacked(element)
            parts = list(_elements(matrix.content)) if matrix.kind == _MATRIX else []
            if parts and parts[0].content[0] == _STRUCT:
                return _structs(parts)
    except (struct.error, IndexError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"a damaged MATLAB file: {error}") from error
    raise ValueError("a MATLAB file without structs")


def _elements(content: bytes) -> Iterator[_Element]:
    """Yields the elements of a stretch of bytes."""
    at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<II", content, at)
        if kind >> 16:
            # A small element has its size beside its type and its content behind, within eight bytes.
            size = min(kind >> 16, 4)
            yield _Element(kind & 0xFFFF, content[at + 4 : at + 4 + size])
            at += 8
            continue
        if at + 8 + size > len(content):
            raise ValueError("a MATLAB file that was cut off")
        yield _Element(kind, content[at + 8 : at + 8 + size])
        at += 8 + size + (0 if kind == _COMPRESSED else -size % 8)


def _unpacked(element: _Element) -> _Element:
    """Returns an element, unpacked where it is compressed."""
    if element.kind != _COMPRESSED:
        return element
    unpacker = zlib.decompressobj()
    plain = unpacker.decompress(element.content, _MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise ValueError(f"a MATLAB file of more than {_MOST_BYTES >> 20} MiB")
    return next(_elements(plain))


def _structs(parts: list[_Element]) -> list[dict[str, Value]]:
    """Reads an array of structs: flags, sizes, its name, the length of a field's name, names, fields."""
    width = int.from_bytes(parts[3].content[:4], "little")
    packed = parts[4].content
    if not width:
        raise ValueError("a MATLAB file without names of fields")
    names = [packed[at : at + width].split(b"\0")[0].decode("ascii") for at in range(0, len(packed), width)]
    values = [_value(part) for part in parts[5:]]
    return [
        dict(zip(names, values[at : at + len(names)], strict=False))
        for at in range(0, len(values), len(names))
    ]


def _value(element: _Element) -> Value:
    """Returns the text or the single number that a field holds."""
    parts = list(_elements(element.content))
    if len(parts) < 4:
        return None
    kind, content = parts[3]
    if parts[0].content[0] == _CHAR and kind in _TEXTS:
        return content.decode(_TEXTS[kind])
    if kind in _NUMBERS:
        numbers = np.frombuffer(content, "<" + _NUMBERS[kind])
        return float(numbers[0]) if len(numbers) == 1 else None
    return None
