r"""Lists of file names, one per line: how a name is written, and which names a line may mean.

A line is the name byte for byte. A name that such a line cannot hold (with a newline or another control
character, a quotation mark in front, or a blank at an end) stands in double quotes with C's escapes, as git
writes it: "a\nb.jpg". Bytes that are not UTF-8 stay as they are.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
_LETTERS = {escape[1]: plain for plain, escape in _ESCAPES.items()}
_CONTROL = re.compile(r'[\x00-\x1f\x7f"\\]')
_ESCAPE = re.compile(r"\\([0-7]{3}|.)", re.DOTALL)
_BOM = "\ufeff"


def written_name(name: str) -> str:
    """Returns the line of a name, without its newline."""
    plain = not re.search(r"[\x00-\x1f\x7f]", name) and name == name.strip()
    if plain and not name.startswith(('"', _BOM)):
        return name
    return '"' + _CONTROL.sub(_escaped, name) + '"'


def _escaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0]) or f"\\{ord(match[0]):03o}"


def unquoted(line: str) -> str | None:
    """Returns the name in a line in double quotes; None for another line."""
    if len(line) < 2 or not (line.startswith('"') and line.endswith('"')):
        return None
    return _ESCAPE.sub(
        lambda match: chr(int(match[1], 8)) if match[1].isdigit() else _LETTERS.get(match[1], match[0]),
        line[1:-1],
    )


def read_lines(content: bytes) -> list[str]:
    """Returns the lines of a list that are not blank, as names are in Python.

    UTF-8 with or without a byte order mark, UTF-16 with one (as PowerShell writes); lines end in a newline,
    in CR and newline, or in a zero (`find -print0`).
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = content.decode("utf-16", "replace").encode()
    content = content.removeprefix(_BOM.encode())
    lines = content.split(b"\0") if b"\0" in content else re.split(rb"\r?\n", content)
    return [os.fsdecode(line) for line in lines if line.strip()]


def readings(line: str, root: Path) -> Iterator[str]:
    """Yields the names below `root` that a line may mean, the most literal first.

    Args:
        line: Of a list: a path relative to `root` or to the working directory, or an absolute one, with "/"
            or backslashes.
        root: The data set's directory.
    """
    roots = dict.fromkeys((os.path.abspath(root), os.path.realpath(root)))  # noqa: PTH100 - links stay links
    seen = set()
    for text in _texts(line):
        for name in _below(text, roots):
            if name not in seen:
                seen.add(name)
                yield name


def _texts(line: str) -> Iterator[str]:
    """Yields what a line may have been before an editor or another system wrote it."""
    plain = unquoted(line)
    texts = [line] if plain is None else [plain, line]
    for text in texts:
        yield text
        stripped = text.strip()
        yield stripped
        for form in ("NFC", "NFD"):
            yield unicodedata.normalize(form, text)  # type: ignore[arg-type, unused-ignore]
        yield stripped.replace("\\", "/")


def _below(text: str, roots: dict[str, None]) -> Iterator[str]:
    """Yields where a path lies below one of some directories."""
    yield text
    if not text or "\0" in text:
        return
    if not os.path.isabs(text):  # noqa: PTH117 - as in `readings`
        yield os.path.normpath(text)
    full = Path(os.path.abspath(text))  # noqa: PTH100 - as in `readings`
    # Not `Path.resolve`, which raises at a link to itself.
    for path in dict.fromkeys((full, Path(os.path.realpath(full.parent)) / full.name)):
        for root in roots:
            if str(path).startswith(root.rstrip("/") + "/"):
                yield str(path)[len(root.rstrip("/")) + 1 :]
