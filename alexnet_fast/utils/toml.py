"""TOML files of users and of runs.

A TOML file is UTF-8, but the name of a file need not be. A text with bytes that are not UTF-8 is written as
`percent:` and the bytes, with `%XX` for those that are not printable ASCII (as in an address, RFC 3986):

    data = "percent:/photographs/caf%E9"

A text that begins with `percent:` itself is written the same way, so every text is read back unchanged.
"""

from __future__ import annotations

import sys
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError, system_reason
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import read_given

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PERCENT = "percent:"


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        UserError: The file is missing or not TOML.
    """
    try:
        table = _mapped(tomllib.loads(read_given(path).decode("utf-8-sig")), _unescaped)
    except OSError as error:
        raise UserError(f"cannot read {path}: {system_reason(error)}", exit_code=2) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not TOML: {error}", exit_code=2) from error
    assert isinstance(table, dict)
    return table


def write_toml(path: Path, values: Mapping[str, Any], notes: Iterable[str] = ()) -> None:
    """Writes values as TOML; `read_toml` returns them again, whatever bytes the texts hold.

    Args:
        path: The file.
        values: The values.
        notes: Comment lines at the top.

    Raises:
        UserError: The file cannot be written.
    """
    import tomli_w

    comments = "".join(f"# {_one_line(note)}\n" for note in notes)
    write_atomically(path, (comments + tomli_w.dumps(_mapped(dict(values), _escaped))).encode("utf-8"))


def _one_line(note: str) -> str:
    """Returns a note without control characters, which TOML forbids in comments too."""
    shown = note.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(sign if sign.isprintable() else " " for sign in shown)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Changes every text in a value, except keys."""
    if isinstance(value, dict):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(inner, change) for inner in value]
    return change(value) if isinstance(value, str) else value


def _escaped(text: str) -> str:
    """Returns a text that UTF-8 can encode.

    Raises:
        UserError: The text has surrogates that do not come from file names.
    """
    try:
        text.encode("utf-8")
        if not text.startswith(_PERCENT):
            return text
    except UnicodeEncodeError:
        pass
    try:
        return _PERCENT + urllib.parse.quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe="/ ")
    except UnicodeEncodeError as error:
        raise UserError(f"{text!r} cannot be written to a file", "give a name without it") from error


def _unescaped(text: str) -> str:
    """Returns the text that `_escaped` was given."""
    if not text.startswith(_PERCENT):
        return text
    return urllib.parse.unquote_to_bytes(text.removeprefix(_PERCENT)).decode("utf-8", "surrogateescape")
