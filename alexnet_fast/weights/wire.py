"""The wire format of protocol buffers, as far as reading a message field by field needs it.

protobuf.dev/programming-guides/encoding: a field is a tag (number and wire type) and its payload.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(Exception):
    """The bytes are no message."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One field of a message.

    Args:
        number: Its number in the message's description.
        packed: Whether it is a stretch of bytes: text, a message or packed numbers.
        payload: Its bytes; of a varint those that encode it.
    """

    number: int
    packed: bool
    payload: memoryview

    @property
    def message(self) -> memoryview:
        """The bytes of a message.

        Raises:
            WireError: The field is a number.
        """
        if not self.packed:
            raise WireError(f"field {self.number} is a number, not a message")
        return self.payload

    @property
    def text(self) -> str:
        """The field as text."""
        return bytes(self.message).decode("utf-8", "replace")

    @property
    def number_value(self) -> int:
        """The field as a whole number.

        Raises:
            WireError: It is none.
        """
        if self.packed:
            raise WireError(f"field {self.number} is not a number")
        return next(varints(self.payload))


def fields(content: memoryview) -> Iterator[Field]:
    """Yields the fields of a message.

    Raises:
        WireError: It is cut short, or no message.
    """
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, kind = tag >> 3, tag & 7
        start = at
        if kind == _VARINT:
            _, at = _varint(content, at)
        elif kind == _BYTES:
            length, start = _varint(content, at)
            at = start + length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise WireError(f"wire type {kind}")
        if at > len(content) or not number:
            raise WireError("it ends within a field")
        yield Field(number=number, packed=kind == _BYTES, payload=content[start:at])


def varints(content: memoryview) -> Iterator[int]:
    """Yields packed whole numbers."""
    at = 0
    while at < len(content):
        value, at = _varint(content, at)
        yield value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """Returns a number in groups of seven bits, lowest first, and where the next thing begins."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            raise WireError("it ends within a number")
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireError("a number has more than 64 bits")
