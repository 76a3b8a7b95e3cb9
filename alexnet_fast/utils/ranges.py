"""Ranges and choices of options, for the command line, TOML files, recipes and the Python interface."""

from __future__ import annotations

import dataclasses
import math
import operator
import os
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """Finite numbers between two ends.

    Args:
        least: The lower end.
        most: The upper end.
        whole: Whether the numbers are whole.
        above: Whether the lower end is excluded.
        below: Whether the upper end is excluded.
    """

    least: float
    most: float
    whole: bool = False
    above: bool = False
    below: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        low = f"above {_plain(self.least)}" if self.above else f"of at least {_plain(self.least)}"
        return f"{kind} {low} and {'below' if self.below else 'at most'} {_plain(self.most)}"

    def read(self, text: str) -> int | float:
        """Returns the number in a text.

        Raises:
            ValueError: The text is not a number of this range.
        """
        return self.take(int(text) if self.whole else float(text))

    def take(self, value: object) -> int | float:
        """Returns a number, which may be numpy's, as a plain int or float.

        Raises:
            ValueError: The value is not a number, or lies outside the range.
        """
        number = _number(value, whole=self.whole)
        low = number > self.least if self.above else number >= self.least
        high = number < self.most if self.below else number <= self.most
        if not ((self.whole or math.isfinite(number)) and low and high):
            raise ValueError(f"give {self}, not {shown(value)}")
        return number


def _number(value: object, *, whole: bool) -> int | float:
    """Returns a Python number.

    Raises:
        ValueError: The value is not a number.
    """
    # True is an int in Python, and a text that looks like a number is a mistake of the caller.
    if isinstance(value, bool | str | bytes):
        raise ValueError(f"{shown(value)} is no number")
    try:
        return operator.index(value) if whole else float(value)  # type: ignore[arg-type]
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{shown(value)} is no number") from error


def shown(value: object) -> str:
    """Returns a value as Python writes it, without the middle of a long one."""
    return reprlib.repr(value)


def _plain(number: float) -> str:
    """Formats an end of a range: 1,000,000 and 0.5."""
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def whole(least: int, most: int) -> Range:
    """Returns a range of whole numbers, both ends included."""
    return Range(least=least, most=most, whole=True)


def real(least: float, most: float, *, above: bool = False, below: bool = False) -> Range:
    """Returns a range of numbers; see `Range`."""
    return Range(least=least, most=most, above=above, below=below)


# Common ranges. The upper ends are far above any use; they catch typing errors.
COUNT = whole(1, 1_000_000)
COUNT_OR_NONE = whole(0, 1_000_000)
STEPS = whole(1, 10**12)
STEPS_OR_NONE = whole(0, 10**12)
# ImageNet has been trained with 65,536 images per step.
BATCH = whole(1, 1 << 20)
# Threads or processes: more than four per processor never help.
WORKERS = whole(1, max(256, 4 * (os.cpu_count() or 1)))
# Pixels of a side; `prepare` has the same limit.
SIDE = whole(1, 8192)
# The seeds that TOML's integers and numpy's and torch's generators all accept.
SEED = whole(0, 2**63 - 1)
PORT = whole(0, 65_535)
# One TiB.
MIB = whole(1, 1 << 20)
# The limit of float32; training itself reports divergence.
RATE = real(0.0, 1e38)
FACTOR = real(0.0, 1.0, above=True, below=True)
FACTOR_OR_ONE = real(0.0, 1.0, above=True)
SHARE = real(0.0, 1.0)
SHARE_BELOW_ONE = real(0.0, 1.0, below=True)
# 11 days: timeouts of the system end at 2**31 milliseconds.
SECONDS = real(0.0, 1e6, above=True)
SECONDS_OR_NONE = real(0.0, 1e6)

OPTION_RANGES: Mapping[str, Range] = {
    "batch_size": BATCH,
    "brightness": SHARE,
    "builder_optimization_level": whole(0, 5),
    "calibration_images": COUNT,
    "concurrency": whole(1, 10_000),
    "contrast": SHARE,
    "crop": SIDE,
    "drain_delay": SECONDS_OR_NONE,
    "drain_timeout": SECONDS_OR_NONE,
    "epochs": COUNT,
    "gibibytes": real(0.0, 1e6, above=True),
    "gpus": WORKERS,
    "grpc_port": PORT,
    "http_port": PORT,
    "hue": real(0.0, 0.5),
    "images": COUNT,
    "instances": whole(1, 1024),
    "max_batch_size": whole(1, 4096),
    "max_download": real(0.0, 1e6, above=True),
    "max_queue_delay": real(0.0, 60.0),
    "max_queue_delay_ms": real(0.0, 60_000.0),
    "max_queue_size": COUNT,
    "min_scale": FACTOR_OR_ONE,
    "prefetch": whole(1, 64),
    "processes": WORKERS,
    "quality": whole(1, 100),
    "rate": real(0.0, 1e6, above=True),
    "reload_interval": SECONDS_OR_NONE,
    "resize": SIDE,
    "runs": COUNT,
    "saturation": SHARE,
    "seconds": SECONDS,
    "seed": SEED,
    "shard_size": MIB,
    "size": SIDE,
    "steps": COUNT,
    "threads": WORKERS,
    "timeout": real(0.001, 1e6),
    "timeout_per_file": SECONDS,
    "top": COUNT,
    "top_k": COUNT,
    "val_fraction": FACTOR,
    "workers": WORKERS,
    "workspace_mib": MIB,
}

OPTION_CHOICES: Mapping[str, tuple[str, ...]] = {"on_bad_image": ("fail", "skip")}


def check_fields(options: Any) -> None:
    """Checks the fields of a dataclass by name; converts numpy's numbers, and texts to paths.

    None is allowed if the field may hold it. Call it from `__post_init__`, of a frozen dataclass too.

    Raises:
        UserError: A value does not fit its field; it is named as an argument.
    """
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value is None and (field.default is None or "None" in str(field.type)):
            continue
        try:
            checked = _checked(field, value)
        except ValueError as error:
            raise UserError(f"{field.name}={shown(value)} does not fit", str(error), exit_code=2) from error
        object.__setattr__(options, field.name, checked)


def _checked(field: dataclasses.Field[Any], value: Any) -> Any:
    """Returns the value of a field in its own type.

    Raises:
        ValueError: The value does not fit.
    """
    limits = field.metadata.get("range") or OPTION_RANGES.get(field.name)
    if limits is not None:
        return limits.take(value)
    choices = field.metadata.get("choices") or OPTION_CHOICES.get(field.name)
    if choices is not None and value not in choices:
        raise ValueError(f"choose from {', '.join(choices)}")
    if isinstance(field.default, bool) and not isinstance(value, bool):
        raise ValueError("give True or False")
    if "Path" in str(field.type) and isinstance(value, str):
        return Path(value)
    return value
