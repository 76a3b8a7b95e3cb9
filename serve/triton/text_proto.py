"""Text format of protocol buffers, as `config.pbtxt` wants it, from plain values.

https://protobuf.dev/reference/protobuf/textformat-spec
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Enum(str):
    """A value that stands without quotes."""

    __slots__ = ()


def text_proto(message: Mapping[str, Any]) -> str:
    """Writes a message.

    Args:
        message: Fields in the order in which they are to stand: numbers, booleans, strings, `Enum`, messages
            (mappings), and lists of them for repeated fields.
    """
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, Mapping):
                yield f"{indent}{name} {{"
                yield from _lines(item, f"{indent}  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(item)}"


def _scalar(value: object) -> str:
    if isinstance(value, Enum):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(_escaped(byte) for byte in value.encode("utf-8", "surrogateescape")) + '"'
    return repr(value)


def _escaped(byte: int) -> str:
    """Returns a byte of UTF-8 as it stands in a string: plain where it is harmless, else in octal."""
    harmless = 0x20 <= byte < 0x7F and chr(byte) not in "\"\\'"
    return chr(byte) if harmless else f"\\{byte:03o}"
