"""What the subcommands of `show` share: where a plot is written, and its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.overwriting import ask_to_overwrite, force_option
from alexnet_fast.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
if TYPE_CHECKING:
    pass

_PATH = click.Path(path_type=Path)


def example(line: str) -> str:
    """Returns the end of a help page."""
    return f"\b\nExample:\n  alexnet-fast show {line}\n"


def _written(result: Result) -> str:
    """Renders a result for a reader."""
    return f"wrote {result['image']}"


def plot_command(default: str) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Adds what every subcommand has: `--output`, `--force`, `--json`, `--debug`.

    Args:
        default: File name that is taken without `--output`, as the help shows it.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        command = answers(_written)(function)
        return click.option(
            "--output",
            type=_PATH,
            metavar="FILE.png|DIR",
            help=f"Where to write it.  [default: {default} in the folder of the run, else in this one]",
        )(force_option(command))

    return decorate


def new_plot(output: Path | None, name: str, *, force: bool, shown: Path | None = None) -> Path:
    """Returns where to write; refuses before the work is done rather than after.

    Args:
        output: What `--output` says: a file, or a folder for a file of the default name.
        name: Default name of the file, without its ending.
        force: Whether a file that is there may be overwritten without asking.
        shown: What the image is of; that of a run is written into the folder of the run by default.

    Raises:
        UserError: The file is there already and is to stay, or is not to be PNG.
    """
    directory = output if output is not None and output.is_dir() else run_of(shown) or Path()
    path = output if output is not None and not output.is_dir() else directory / f"{name}.png"
    if path.suffix.lower() != ".png":
        raise UserError(f"--output {path} is no PNG file", f"give {path.with_suffix('.png')}", exit_code=2)
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}", "make it first", exit_code=2)
    ask_to_overwrite(path, force=force, instead="another --output")
    return path


def run_of(shown: Path | None) -> Path | None:
    """Returns the folder of the run that a path is, or lies in, where that can be written to.

    Args:
        shown: A run folder, a file in one, or one of its checkpoints.
    """
    from alexnet_fast.training.run_dir import RunDir

    for directory in () if shown is None else (shown, shown.parent, shown.parent.parent):
        if RunDir(directory).exists() and os.access(directory, os.W_OK):
            return directory
    return None


def save_plot(figure: Figure, path: Path) -> Result:
    """Writes a figure and returns the part of the result that every subcommand has."""
    from alexnet_fast.plots.style import save_png

    save_png(figure, path)
    return {"image": str(path)}
