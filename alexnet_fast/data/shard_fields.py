"""What the members of a WebDataset sample are called, and which of them are its image and its label.

The convention is that of the webdataset library: a sample's key is the path up to the first dot of the file's
name, its fields are what follows, in small letters.
https://github.com/webdataset/webdataset/blob/main/src/webdataset/tariterators.py (`base_plus_ext`)
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from alexnet_fast.data.class_map import check_class
from alexnet_fast.data.image_list import ARRAY_SUFFIX, IMAGE_EXTENSIONS
from alexnet_fast.errors import UserError

# In their order: of a sample that has several, the first is its image or its label. Behind the four come the
# other formats in the order of the alphabet, then arrays.
_FIRST_IMAGES = ("jpg", "jpeg", "png", "webp")
LABEL_FIELDS = ("cls", "json")
LONGEST_LABEL_BYTES = 1 << 20
_LONGEST_TEXT_BYTES = 1024

_JSON_KEYS = ("cls", "label", "class")
_ARRAY_FIELD = ARRAY_SUFFIX[1:]
# A number as Python, JSON or C write one.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
# What Python and JSON write where there is no label.
_NOTHING = ("null", "None", "nan", "NaN")
_MEND = "a label is a whole number from 0 on, or a name"


class FieldName(NamedTuple):
    """A member's name, taken apart.

    Args:
        key: What the members of a sample share; with its folders.
        field: The rest, in small letters.
    """

    key: str
    field: str


def field_name(name: str) -> FieldName | None:
    """Takes a member's name apart; None where it belongs to no sample: it has no dot, or begins with one."""
    directory, slash, file = name.rpartition("/")
    base, _, field = file.partition(".")
    return FieldName(f"{directory}{slash}{base}", field.lower()) if base and field else None


@dataclasses.dataclass(frozen=True)
class ShardFields:
    """Which fields are a sample's image and its label; the first that it has.

    Args:
        image: Names of fields; empty for those whose ending says that they are an image.
        label: Names of fields. One that ends in "json" is an object with "cls", "label" or "class"; any other
            holds the label as text.
    """

    image: tuple[str, ...] = ()
    label: tuple[str, ...] = LABEL_FIELDS

    @classmethod
    def from_options(
        cls, image_key: str | None, label_key: str | None, *, before: str = "--", between: str = "-"
    ) -> ShardFields:
        """Makes one of what the user says: a field's name, or several with ";" between them.

        Args:
            image_key: Those of the image; None for the default.
            label_key: Those of the label; None for the default.
            before: How messages begin the names of the two.
            between: What stands between their words.

        Raises:
            UserError: An option names no field.
        """
        image, label = (
            _names(f"{before}{kind}{between}key", given)
            for kind, given in (("image", image_key), ("label", label_key))
        )
        return cls(image, label or LABEL_FIELDS)

    def images(self, extensions: Collection[str]) -> tuple[str, ...]:
        """Returns the fields that may be the image.

        Args:
            extensions: Those that the reader of the images knows, with their dots.
        """
        if self.image:
            return self.image
        known = {suffix[1:] for suffix in extensions}
        rest = sorted(known - {*_FIRST_IMAGES, _ARRAY_FIELD})
        return (*_FIRST_IMAGES, *rest, *({_ARRAY_FIELD} & known))

    def key(self) -> str:
        """Returns what tells two choices apart, in one line."""
        return f"{';'.join(self.image)}|{';'.join(self.label)}"


DEFAULT_FIELDS = ShardFields()
# What training lists.
LISTED = IMAGE_EXTENSIONS | {ARRAY_SUFFIX}


def read_label(content: bytes, field: str, where: str) -> str | None:
    """Returns the label that a field holds, a name or a number; None for JSON that does not hold one.

    Args:
        content: The member's bytes.
        field: Its field.
        where: Its name, for messages.

    Raises:
        UserError: What stands there cannot be a label.
    """
    if field.rpartition(".")[2] != "json" and len(content) > _LONGEST_TEXT_BYTES:
        raise UserError(f"{where} is too long for a label", _MEND)
    try:
        # Windows' editors put a mark in front.
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not a text in UTF-8", _MEND) from error
    if field.rpartition(".")[2] != "json":
        return _checked_text(text, where)
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON ({error})", "copy the tar again") from error
    values = [plain[key] for key in _JSON_KEYS if key in plain] if isinstance(plain, dict) else []
    return _checked_value(values[0], where) if values else None


def number_names(labels: Collection[str]) -> dict[str, str]:
    """Returns the class name of each label: numbers get leading zeros, so that they sort as numbers."""
    if not all(label.isascii() and label.isdigit() for label in labels):
        return {label: label for label in labels}
    width = max((len(str(int(label))) for label in labels), default=0)
    return {label: str(int(label)).zfill(width) for label in labels}


def _names(option: str, given: str | None) -> tuple[str, ...]:
    """Returns the names of fields that an option holds.

    Raises:
        UserError: The option holds no name, or one that no field has.
    """
    if given is None:
        return ()
    names = tuple(part.strip().lstrip(".").lower() for part in given.split(";"))
    if not all(names) or any("/" in name for name in names):
        raise UserError(
            f"{option} {given!r} is no field of a sample",
            "give what stands behind the key, such as jpg or seg.png",
            exit_code=2,
        )
    return names


def _checked_text(text: str, where: str) -> str:
    """Returns a label that stands in a text."""
    fraction = _NUMBER.fullmatch(text) and not (text.isascii() and text.isdigit())
    if fraction or text in _NOTHING or _is_structure(text) or len(text.splitlines()) > 1:
        raise UserError(f"{where} holds {_short(text)}, which is no label", _MEND)
    return check_class(text, where)


def _is_structure(text: str) -> bool:
    """Returns whether a text is an object or a list of JSON."""
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _checked_value(value: Any, where: str) -> str:
    """Returns a label that stands in JSON."""
    if isinstance(value, str):
        return _checked_text(value.strip(), where)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return check_class(str(value), where)
    raise UserError(f"{where} holds {_short(json.dumps(value))}, which is no label", _MEND)


def _short(text: str) -> str:
    """Returns the beginning of a text for a message."""
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}..."
