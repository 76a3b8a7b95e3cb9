"""Names of options in messages: `--on-bad-image skip` on the command line, `on_bad_image="skip"` in Python.

Messages name options as the command line does. If no command is running, the reader is a programmer, and
`as_arguments` names arguments instead.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

# Options whose value is a word; the values of all others are numbers and placeholders.
_NAMING_WORDS = (
    "amp crops dataset-format device init loss lr-schedule mean model on-bad-image optimizer output "
    "pca-jitter precision recipe run split target weights"
)
_NAMING = frozenset(_NAMING_WORDS.split())
# Words that may follow such an option without being its value.
_NO_VALUE_WORDS = (
    "a above again also and are as asks at back be before belongs below beside but by can cannot does "
    "fails for from given gives has have holds in instead into is it lies may must names needs no not "
    "of on one or out says stays takes than that the there they to too trains turns wants when where "
    "which while with without you"
)
_NO_VALUE = frozenset(_NO_VALUE_WORDS.split())
# Options without a name as an argument.
_SPECIAL: Mapping[str, str] = {
    "--dali": 'loader="dali"',
    "--no-dali": 'loader="torch"',
    "--ten-crop": 'crops="ten"',
    "--single-crop": 'crops="single"',
}
_FLAGS_WORDS = (
    "allow-fallback bias-weight-decay compile cuda-graphs finetune flip from-scratch half jitter "
    "linear-probe nesterov random-resized-crop resume"
)
_FLAGS = frozenset(_FLAGS_WORDS.split())
_OPTION = re.compile(
    # A command to type is left alone, up to the end of its clause.
    r"(?P<command>(?:alexnet-fast|pip|torchrun|docker|python) (?:(?!; |, or |, and ).)*)"
    r"|(?P<before>\b(?:give|with|or|add) )?(?<![\w-])(?P<option>--(?P<no>no-)?(?P<name>[a-z][a-z0-9-]*))"
    r"(?: (?P<value>-?[0-9](?:[\w.:+-]*\w)?|nan\b|-?inf\b|[A-Z][A-Z|]+\b|[\w./:+-]*[\w/+]))?",
)

_command_line = False


@contextlib.contextmanager
def on_command_line() -> Iterator[None]:
    """Lets messages name options as the command line does, while the block runs."""
    global _command_line  # noqa: PLW0603 - a process has one reader
    before, _command_line = _command_line, True
    try:
        yield
    finally:
        _command_line = before


def worded(text: str, names: Mapping[str, str]) -> str:
    """Returns a message in the terms of its reader.

    Args:
        text: The message, with options as on the command line.
        names: Arguments that have another name than the option, by the option's name without `--`.
    """
    return text if _command_line else as_arguments(text, names)


def as_arguments(text: str, names: Mapping[str, str]) -> str:
    """Returns a message with its options named as arguments; see `worded`."""

    def argument(match: re.Match[str]) -> str:
        if match["command"]:
            return match[0]
        option, value, before = match["option"], match["value"], match["before"] or ""
        rest = f" {value}" if value is not None else ""
        if option in _SPECIAL:
            return before + _SPECIAL[option] + rest
        name = names.get(match["name"], match["name"].replace("-", "_"))
        if match["no"]:
            return f"{before}{name}=False{rest}"
        if value is not None and (shown := _value(match["name"], value)) is not None:
            return f"{before}{name}={shown}"
        is_set = "=True" if before and match["name"] in _FLAGS else ""
        return before + name + is_set + rest

    return _OPTION.sub(argument, text)


def _value(option: str, text: str) -> str | None:
    """Returns the word after an option as Python writes a value; None if it is not a value."""
    if re.fullmatch(r"-?[0-9][0-9.e+-]*|[A-Z][A-Z|]+", text):
        return text
    if re.fullmatch(r"nan|-?inf", text):
        return f'float("{text}")'
    if re.fullmatch(r"-?[0-9].*", text) or (option in _NAMING and text not in _NO_VALUE):
        return f'"{text}"'
    return None
