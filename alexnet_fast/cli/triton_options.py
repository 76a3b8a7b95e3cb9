"""The options of `serve` and `export` that write a model repository for NVIDIA Triton."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from alexnet_fast.cli.options import all_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alexnet_fast.serve.triton.model_config import TritonConfig
    from alexnet_fast.serve.triton.repository import Variant

# The arguments `triton` and `triton_variant`.
triton_options = all_of(
    click.option(
        "--triton",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Write a model repository for NVIDIA Triton into DIR.",
    ),
    click.option(
        "--triton-variant",
        type=click.Choice(["python", "gpu"]),
        default="python",
        show_default=True,
        help="Serve with onnxruntime on the CPU (python), or with DALI and the engine or ONNX file (gpu).",
    ),
)


def check_repository(repository: Path) -> None:
    """Checks that a repository may be written, before work begins that takes long.

    Raises:
        UserError: The folder holds something else.
    """
    from alexnet_fast.serve.triton.repository import written_models

    written_models(repository)


def write_triton(
    models: Mapping[str, Path], repository: Path, variant: Variant, config: TritonConfig | None = None
) -> list[str]:
    """Writes exported models into a repository.

    Args:
        models: ONNX files or engines by the name that clients call.
        repository: See `serve.triton.repository.write_repository`, also for the others.
        variant: See there.
        config: See there.

    Returns:
        The directories of the models, as `--json` prints them.

    Raises:
        UserError: A model, a name or the repository does not fit.
    """
    from alexnet_fast.serve.triton.repository import write_repository

    return [
        str(directory)
        for name, model in models.items()
        for directory in write_repository(model, repository, name=name, variant=variant, config=config)
    ]


def triton_lines(directories: list[str]) -> list[str]:
    """Returns the lines of a table about a repository."""
    return [f"Triton     {directory}" for directory in directories]
