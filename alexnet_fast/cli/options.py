"""Options that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli.config_file import take_augmentation
from alexnet_fast.cli.train_options import Decorator, train_option
from alexnet_fast.cli.types import GroupedOption, number
from alexnet_fast.training.config import RANDOM_AUGMENTATION
from alexnet_fast.training.option import AUGMENTATION, HARDWARE


def all_of(*options: Decorator) -> Decorator:
    """Returns a decorator that adds options in order."""

    def decorate(function: Any) -> Any:
        for add in reversed(options):
            function = add(function)
        return function

    return decorate


if TYPE_CHECKING:
    from alexnet_fast.data import ExcludeList
    from alexnet_fast.data.layouts.detect import DatasetFormat
    from alexnet_fast.data.shard_fields import ShardFields

device = train_option("device")
model_device = train_option("device", help="auto, cpu, cuda or cuda:N; tensorrt for an exported file.")
allow_fallback = click.option(
    "--allow-fallback",
    is_flag=True,
    cls=GroupedOption,
    group=HARDWARE,
    help="Fall back to the CPU, with a warning, if --device is unavailable.",
)
dali = train_option("dali")
workers = train_option("workers")
on_bad_image = train_option("on_bad_image")
background = train_option("background")
exclude = train_option("exclude")
hw_decoder_load = train_option("hw_decoder_load")
# The fields of a WebDataset sample; `fields` reads them.
shard_fields = all_of(train_option("image_key"), train_option("label_key"))
# The format of a data set; `dataset_format` reads them.
FORMAT = ("dataset_format", "labels", "label_encoding", "image_key", "label_key")
format_options = all_of(*map(train_option, FORMAT))


def dataset_format(given: dict[str, Any]) -> DatasetFormat:
    """Returns the format that `format_options` describe."""
    from alexnet_fast.data.layouts.detect import DatasetFormat

    return DatasetFormat.from_options(*(given[name] for name in FORMAT))


def fields(given: dict[str, Any]) -> ShardFields:
    """Returns the fields that `shard_fields` name."""
    from alexnet_fast.data.shard_fields import ShardFields

    return ShardFields.from_options(given["image_key"], given["label_key"])


# Options of a source that may be an address; `local_source` reads them.
fetching = all_of(
    click.option("--sha256", metavar="HEX", help="Expected SHA-256 of a downloaded archive."),
    number(
        "--max-download",
        default=16.0,
        show_default=True,
        metavar="GIB",
        help="Largest size of a downloaded archive, and of its content, in GiB.",
    ),
    click.option(
        "--allow-private", is_flag=True, help="Allow addresses of this machine and of its own network."
    ),
)


def local_source(given: dict[str, Any]) -> Path:
    """Returns the path of a source, after a download if it is an address.

    Raises:
        UserError: The download fails, or an option for downloads is given with a path.
    """
    from alexnet_fast.download.cache import FetchConfig, fetch
    from alexnet_fast.download.download import is_address
    from alexnet_fast.errors import UserError
    from alexnet_fast.utils.progress import progress_bar

    config = FetchConfig(
        sha256=given["sha256"], gibibytes=given["max_download"], allow_private=given["allow_private"]
    )
    if not is_address(given["source"]):
        if given["sha256"] is not None:
            raise UserError(
                "--sha256 belongs to an https address", f"{given['source']} is a path", exit_code=2
            )
        return Path(given["source"])
    with progress_bar(1 << 20, "fetching", counts=False) as bar:

        def show(done: int, length: int | None) -> None:
            # A server need not say how much it will send.
            bar.update(0 if length is None else (done << 20) // length - bar.n)

        return fetch(given["source"], config, show)


model_name = click.option(
    "--model", "net", metavar="NAME", help="Network of a weight file that does not name it."
)


def cpu_workers(help_text: str) -> Decorator:
    """Adds `--workers`, a number of processes, one per core by default."""
    return number(
        "--workers",
        default=lambda: os.cpu_count() or 1,
        show_default="one per core",
        group=HARDWARE,
        help=help_text,
    )


def timeout_per_file(help_text: str) -> Decorator:
    """Adds `--timeout-per-file` as the argument `seconds`."""
    return number("--timeout-per-file", "seconds", default=60.0, show_default=True, help=help_text)


def amp(default: str) -> Decorator:
    """Adds `--amp`, mixed precision."""
    return train_option("amp", default=default)


def crops(help_text: str) -> Callable[[Any], Any]:
    """Adds `--crops` and its short forms as the argument `crops`; None if none is given."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        shorts = click.option(
            "--ten-crop/--single-crop", default=None, help="Short for --crops ten or single."
        )
        name = click.option("--crops", type=click.Choice(["single", "five", "ten"]), help=help_text)
        return name(shorts(_merged(function)))

    return add


def _merged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Merges both forms into one argument."""

    @functools.wraps(function)
    def with_crops(*args: Any, crops: str | None, ten_crop: bool | None, **given: Any) -> Any:
        short = None if ten_crop is None else "ten" if ten_crop else "single"
        if crops is not None and short not in (None, crops):
            raise click.UsageError(f"--crops {crops} and --{short}-crop contradict each other; give one.")
        return function(*args, crops=crops or short, **given)

    return with_crops


jitter = click.option(
    "--jitter/--no-jitter",
    default=False,
    cls=GroupedOption,
    group=AUGMENTATION,
    help="Apply PCA colour jitter to each crop before averaging; for networks, not exported files.",
)
augmentation_file = click.option(
    "--augmentation",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=take_augmentation,
    cls=GroupedOption,
    group=AUGMENTATION,
    common=False,
    help="TOML file of augmentation options; the command line wins over it, it wins over other files.",
)
# Random augmentation beyond the paper's, and the file that may declare it.
augmentation = all_of(augmentation_file, train_option("flip"), *map(train_option, RANDOM_AUGMENTATION))


def excluded(path: Path | None) -> ExcludeList | None:
    """Returns the images that `--exclude` names; None without it."""
    from alexnet_fast.data import ExcludeList

    return None if path is None else ExcludeList.load(path)
