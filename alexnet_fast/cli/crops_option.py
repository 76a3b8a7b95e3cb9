"""The choice between one crop and ten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from alexnet_fast.pipelines.crops import Crops


def crops_option(help_text: str) -> Callable[[Any], Any]:
    """Adds `--ten-crop/--single-crop`, None where neither is given, as the argument `ten_crop`."""
    return click.option("--ten-crop/--single-crop", default=None, help=help_text)


def chosen(ten_crop: bool | None) -> Crops | None:
    """Returns the choice, None where it was left open."""
    return None if ten_crop is None else "ten" if ten_crop else "single"
