"""Options that several commands share, each with one name, one default and one help text."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli.config_file import take_augmentation
from alexnet_fast.cli.types import choice, number

Decorator = Callable[[Any], Any]


def all_of(*options: Decorator) -> Decorator:
    """Returns a decorator that adds options in their order."""

    def decorate(function: Any) -> Any:
        for add in reversed(options):
            function = add(function)
        return function

    return decorate


if TYPE_CHECKING:
    from collections.abc import Callable

    from alexnet_fast.data import ExcludeList
    from alexnet_fast.data.layouts.detect import DatasetFormat
    from alexnet_fast.data.shard_fields import ShardFields

device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
model_device = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda or cuda:N; tensorrt for an exported file.",
)
allow_fallback = click.option(
    "--allow-fallback", is_flag=True, help="Where --device is not to be had, warn and take the CPU."
)
dali = click.option(
    "--dali/--no-dali", default=True, show_default=True, help="Load with NVIDIA DALI, or with Pillow."
)
threads = number(
    "--threads",
    default=lambda: min(8, os.cpu_count() or 1),
    show_default="one a core, at most 8",
    help="DALI threads or worker processes.",
)
on_bad_image = choice(
    "--on-bad-image",
    default="fail",
    show_default=True,
    help="What to do about an image that cannot be decoded.",
)
background = click.option(
    "--background",
    default="#ffffff",
    show_default="white",
    metavar="COLOUR",
    help="Seen where an image is transparent: a name, or #rrggbb.",
)
leave_out = click.option(
    "--leave-out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of images to leave out, one path a line, relative to DATA; `scan --write-list` writes one.",
)
# Which fields of a WebDataset sample are read; `fields` takes them.
shard_fields = all_of(
    click.option(
        "--image-key",
        metavar="FIELD",
        help="Field of WebDataset samples that is the image, such as seg.png; several with ';' between them:"
        " the first that is there.  [default: jpg, jpeg, png, webp, the other formats, npy]",
    ),
    click.option(
        "--label-key",
        metavar="FIELD",
        help="Field of WebDataset samples that holds the label, as --image-key.  [default: cls, json]",
    ),
)
# How a data set is laid out; `reading` takes them.
layout = all_of(
    choice(
        "--layout",
        help="How DATA is laid out (docs/data.md).  [default: recognised; caltech256 must be said]",
    ),
    click.option(
        "--labels",
        type=click.Path(path_type=Path, dir_okay=False),
        help="JSON of image id -> label, for train/, val/ and test/ of loose files.",
    ),
    click.option(
        "--label-encoding",
        type=click.Path(path_type=Path, dir_okay=False),
        help="JSON of label -> index, with --labels.",
    ),
    shard_fields,
)
# The names of what `layout` adds.
READING = ("layout", "labels", "label_encoding", "image_key", "label_key")


def reading(given: dict[str, Any]) -> DatasetFormat:
    """Returns what the options of `layout` say."""
    from alexnet_fast.data.layouts.detect import DatasetFormat

    return DatasetFormat.from_options(*(given[name] for name in READING))


def fields(given: dict[str, Any]) -> ShardFields:
    """Returns what the options of `shard_fields` say."""
    from alexnet_fast.data.shard_fields import ShardFields

    return ShardFields.from_options(given["image_key"], given["label_key"])


# Of a source that may be an address; `local_source` takes them.
fetching = all_of(
    click.option("--sha256", metavar="HEX", help="What the SHA-256 of an archive at an address must be."),
    number(
        "--max-download",
        default=16.0,
        show_default=True,
        metavar="GIB",
        help="Most of an archive at an address, and of what it holds.",
    ),
    click.option(
        "--allow-private", is_flag=True, help="The address may be of this machine or of its own network."
    ),
)


def local_source(given: dict[str, Any]) -> Path:
    """Returns the path of a source, after fetching it where it is an address.

    Raises:
        UserError: It cannot be fetched, or an option of fetching is given with a path.
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
            bar.update(0 if length is None else (done << 20) // length - bar.pos)

        return fetch(given["source"], config, show)


weights_of = click.option("--weights-of", "net", help="Name of the network, for weights that do not say it.")


def workers(help_text: str) -> Callable[[Any], Any]:
    """Adds `--workers`, a number of processes."""
    return number(
        "--workers",
        default=lambda: os.cpu_count() or 1,
        show_default="one a core",
        help=help_text,
    )


def seconds_per_file(help_text: str) -> Callable[[Any], Any]:
    """Adds `--seconds-per-file` as the argument `seconds`."""
    return number(
        "--seconds-per-file",
        "seconds",
        default=60.0,
        show_default=True,
        help=help_text,
    )


def amp(default: str) -> Callable[[Any], Any]:
    """Adds `--amp`, mixed precision."""
    return choice(
        "--amp",
        default=default,
        show_default=True,
        help="Mixed precision; auto is bf16 or fp16 on a GPU and off on a CPU.",
    )


def crops(help_text: str) -> Callable[[Any], Any]:
    """Adds `--crops` and its short forms, None where none is given, as the argument `crops`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        shorts = click.option(
            "--ten-crop/--single-crop", default=None, help="The same as --crops ten or single."
        )
        name = click.option("--crops", type=click.Choice(["single", "five", "ten"]), help=help_text)
        return name(shorts(_merged(function)))

    return add


def _merged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a command take one argument for both forms."""

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
    help="Shift the colours of each crop as in training, before averaging; for networks, not exported files.",
)


hw_decoder_load = number(
    "--hw-decoder-load",
    default=0.65,
    show_default=True,
    help="Share of the JPEGs that a GPU's hardware decoder takes (A100 and later); 0 to 1.",
)


# The random parts of the augmentation, and the file that may declare them.
augmentation = all_of(
    click.option(
        "--augmentation",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=take_augmentation,
        help="TOML file of augmentation options; the command line wins over it, it over other files.",
    ),
    click.option(
        "--flip/--no-flip", default=True, show_default=True, help="Mirror half of the training images."
    ),
    click.option(
        "--random-resized-crop/--no-random-resized-crop",
        default=False,
        help="Train on random areas of random shape, resized.",
    ),
    number(
        "--min-scale",
        default=0.08,
        show_default=True,
        help="Smallest share of an image in --random-resized-crop.",
    ),
    number("--brightness", default=0.0, help="Random change of levels, 0 to 1."),
    number("--contrast", default=0.0, help="Random change of contrast, 0 to 1."),
    number("--saturation", default=0.0, help="Random change of saturation, 0 to 1."),
    number("--hue", default=0.0, help="Random turn of the hue, 0 to 0.5 of a full turn."),
    click.option(
        "--progressive",
        metavar="START:END[:EPOCHS]",
        help="Input side of training: grows to END (the network's) over the first EPOCHS (or all) epochs.",
    ),
)


def left_out(path: Path | None) -> ExcludeList | None:
    """Returns the images that `--leave-out` names, None where it was not given."""
    from alexnet_fast.data import ExcludeList

    return None if path is None else ExcludeList.load(path)
