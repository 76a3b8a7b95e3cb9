"""What every `alexnet-fast show` command has: where it writes its picture, and how it says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alexnet_fast.cli.command import Result, answers
from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PATH = click.Path(path_type=Path)


def example(line: str) -> str:
    """Returns the end of a help page."""
    return f"\b\nExample:\n  alexnet-fast show {line}\n"


def _written(result: Result) -> str:
    """Renders a result for a reader."""
    return f"wrote {result['picture']}"


def picture_command(default: str) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Adds what every subcommand has: `--output`, `--force`, `--json`, `--debug`.

    Args:
        default: File name that is taken without `--output`, as the help shows it.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        command = answers(_written)(function)
        command = click.option("--force", is_flag=True, help="Overwrite an existing file.")(command)
        return click.option(
            "--output", type=_PATH, metavar="FILE.png", help=f"Where to write it.  [default: {default}]"
        )(command)

    return decorate


def new_picture(output: Path | None, name: str, *, force: bool) -> Path:
    """Returns where to write; refuses before the work is done rather than after.

    Raises:
        UserError: The file is there already, or is not to be PNG.
    """
    path = output or Path(f"{name}.png")
    if path.suffix.lower() != ".png":
        raise UserError(f"--output {path} is no PNG file", f"give {path.with_suffix('.png')}", exit_code=2)
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}", "make it first", exit_code=2)
    if path.exists() and not force:
        raise UserError(
            f"{path} is there already", "give --force to overwrite it, or another --output", exit_code=2
        )
    return path


def save_picture(figure: Figure, path: Path) -> Result:
    """Writes a figure and returns the part of the result that every subcommand has."""
    from alexnet_fast.pictures.png import save_png

    save_png(figure, path)
    return {"picture": str(path)}
