"""`--augmentation FILE`: what happens to the images, declared in a TOML file outside the code.

    random-resized-crop = true
    min-scale = 0.25
    hue = 0.05
    flip = false

The options may also stand below `[augmentation]`, there as in any other file of options.
"""

from __future__ import annotations

from pathlib import Path

import click

from alexnet_fast.cli.config_file import augmentation_of
from alexnet_fast.errors import UserError
from alexnet_fast.utils.toml import read_toml


def take_augmentation(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Makes the options in a file the defaults of a command: what is typed wins over them.

    Args:
        ctx: The command that is running, before its other options are read.
        path: The file; None where none is given.

    Raises:
        UsageError: It cannot be read, or holds something else.
    """
    if path is None or ctx.resilient_parsing:
        return
    try:
        table = read_toml(path)
        if set(table) == {"augmentation"} and isinstance(table["augmentation"], dict):
            table = table["augmentation"]
        options = augmentation_of(table, f"--augmentation {path}", ctx)
    except UserError as error:
        raise click.UsageError(f"{error}.", ctx) from error
    ctx.default_map = {**(ctx.default_map or {}), **options}
