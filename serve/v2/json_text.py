"""JSON from strangers: nothing is accepted that could be read in two ways."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from alexnet_fast.serve.errors import malformed, too_large

if TYPE_CHECKING:
    from alexnet_fast.serve.config import Limits


def parse_object(text: bytes, limits: Limits) -> dict[str, Any]:
    """Parses a JSON object.

    Raises:
        RequestError: It is too long (413); is no JSON or no object, nests too deep, repeats a key, or holds
            NaN or Infinity (400).
    """
    if len(text) > limits.json_bytes:
        raise too_large(f"the JSON has {len(text)} bytes, at most {limits.json_bytes} are taken")
    too_deep = malformed(f"the JSON nests deeper than {limits.json_depth}")
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise malformed(f"the JSON is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise too_deep from error
    except ValueError as error:
        raise malformed(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise malformed(f"the body must be a JSON object, not {kind_of(value)}")
    if _deeper_than(value, limits.json_depth):
        raise too_deep
    return value


def member(plain: dict[str, Any], key: str, kind: type, where: str) -> Any:
    """Returns a value that must be there and of one type.

    Args:
        plain: A JSON object.
        key: Its member.
        kind: str, int, list or dict; True and False are no int.
        where: The object, for messages.

    Raises:
        RequestError: It is not there or of another type.
    """
    if key not in plain:
        raise malformed(f"{where} lacks {key!r}")
    return typed(plain[key], kind, f"{key!r} of {where}")


def typed(value: Any, kind: type, what: str) -> Any:
    """Returns a value that must be of one type; see `member`."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise malformed(f"{what} must be {_NAMES[kind]}, not {kind_of(value)}")
    return value


def only(plain: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    """Refuses members that this server would have to ignore.

    Raises:
        RequestError: There is one.
    """
    for key in plain:
        if key not in known:
            raise malformed(f"{where} has {key!r}, which this server does not know")


_NAMES = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def kind_of(value: Any) -> str:
    """Returns how JSON calls the type of a value."""
    return _NAMES[type(value)]


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) < len(pairs):
        raise ValueError("a key is there twice")
    return plain


def _deeper_than(value: Any, depth: int) -> bool:
    """Walks level by level, so that no nesting is too deep for the walk itself."""
    level = [value]
    for _ in range(depth):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
