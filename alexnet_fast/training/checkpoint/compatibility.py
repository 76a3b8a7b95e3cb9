"""Compatibility of a resumed run with its checkpoint: same images, same options but for some."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from pathlib import Path
from typing import Any

from alexnet_fast.data import Splits
from alexnet_fast.errors import UserError
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.option import flag_name, is_free, may_change, reason_to_stay
from alexnet_fast.training.precision import Precision
from alexnet_fast.training.run_dir import RunDir
from alexnet_fast.utils.atomic import write_atomically
from alexnet_fast.utils.special_files import read_given


def write_file_list(path: Path, splits: Splits) -> None:
    """Writes the names of the images, one per line, such as "train/cat/1.jpg".

    Raises:
        UserError: The file cannot be written.
    """
    lines = sorted(_lines(splits))
    # Without a time stamp, the same images give the same file.
    write_atomically(path, gzip.compress("\n".join(lines).encode("utf-8", "surrogateescape"), mtime=0))


def describe_file_changes(path: Path, splits: Splits) -> str:
    """Returns how the images differ from a list of `write_file_list`.

    Returns:
        A phrase such as "2 are gone (train/cat/1.jpg, …)"; empty if the list cannot be read.
    """
    try:
        before = set(gzip.decompress(read_given(path)).decode("utf-8", "surrogateescape").split("\n"))
    except (OSError, EOFError, zlib.error):
        return ""
    now = set(_lines(splits))
    changes = ((before - now, "gone"), (now - before, "new"))
    return " and ".join(
        f"{len(names)} {'is' if len(names) == 1 else 'are'} {what} ({min(names)}{', …' * (len(names) > 1)})"
        for names, what in changes
        if names
    )


def _lines(splits: Splits) -> list[str]:
    """Returns one line per training and validation image."""
    parts = {"train": splits.train, "val": splits.val}
    return [f"{part}/{name}" for part, images in parts.items() for name in images.names]


# Compared by the resulting number type, since "auto" depends on the device.
_AMP = "amp"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """An option that differs from the checkpoint's.

    Args:
        name: Field of `TrainConfig`.
        before: Its value up to the checkpoint.
        after: Its value from there on.
    """

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{flag_name(self.name)} {_shown(self.before)} -> {_shown(self.after)}"


def make_fingerprint(config: TrainConfig, splits: Splits, precision: Precision) -> dict[str, Any]:
    """Returns options and image lists that a resumed run is compared with."""
    names = [field.name for field in dataclasses.fields(config) if not is_free(field) and field.name != _AMP]
    plain = config.to_dict()
    return {
        **{flag_name(name): plain.get(name) for name in names},
        flag_name(_AMP): precision.name,
        "the training images": splits.train.fingerprint(),
        "the validation images": splits.val.fingerprint(),
    }


def check_resumable(
    config: TrainConfig, splits: Splits, before: dict[str, Any], now: dict[str, Any]
) -> tuple[Change, ...]:
    """Compares a run with the checkpoint that it resumes.

    Args:
        config: The options.
        splits: The images.
        before: Fingerprint in the checkpoint; it lacks options that its version did not have.
        now: Fingerprint of the options.

    Returns:
        The options that have changed.

    Raises:
        UserError: The images or an option have changed that must not; the message names the reason.
    """
    for name in ("the training images", "the validation images"):
        if name in now and before.get(name) != now[name]:
            raise _other_images(name, config, splits)
    changes = []
    for field in dataclasses.fields(config):
        name = flag_name(field.name)
        if name not in now or (name not in before and may_change(field)) or before.get(name) == now[name]:
            continue
        if not may_change(field):
            raise UserError(
                f"the run in {config.run} has {name} {_shown(before.get(name))}, not {_shown(now[name])}",
                f"--resume cannot change it: {reason_to_stay(field)}; go on with the same value, or start"
                " another --run",
            )
        changes.append(Change(name=field.name, before=before[name], after=now[name]))
    return tuple(changes)


def changeable_options() -> tuple[str, ...]:
    """Returns the names of the options that `--resume` may change."""
    return tuple(field.name for field in dataclasses.fields(TrainConfig) if may_change(field))


def _other_images(name: str, config: TrainConfig, splits: Splits) -> UserError:
    """Returns the error for a changed list of images."""
    change = describe_file_changes(RunDir(config.run).images, splits)
    return UserError(
        f"{name} in {config.data} have changed since the run in {config.run} began"
        + (f": {change}" if change else ""),
        "restore them, or start another --run",
    )


def _shown(value: Any) -> str:
    """Returns a value for a message."""
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
