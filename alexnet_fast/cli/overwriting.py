"""Existing files are overwritten with `--force`, or after a question at a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from alexnet_fast.errors import UserError
from alexnet_fast.utils.special_files import open_number

force_option = click.option("--force", is_flag=True, help="Overwrite existing files without asking.")


def ask_to_overwrite(path: Path, *, force: bool, instead: str) -> None:
    """Returns if a file may be written; call it before the work, not after.

    Devices, pipes and open streams such as /dev/stdout hold nothing that could be lost, and are allowed.

    Args:
        path: The file.
        force: Whether `--force` was given.
        instead: The alternative for the hint, such as "another --output".

    Raises:
        UserError: The path is a folder; or it exists, and nobody can be asked or the answer is no.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder", f"give {instead}", exit_code=2)
    dangling = path.is_symlink() and not path.exists()
    if force or not (path.is_file() or dangling) or open_number(path) is not None:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        if click.confirm(f"{path} is there already. Overwrite it?", err=True):
            return
        raise UserError(f"{path} is left as it was", f"give {instead}")
    raise UserError(f"{path} is there already", f"give --force to overwrite it, or {instead}", exit_code=2)
