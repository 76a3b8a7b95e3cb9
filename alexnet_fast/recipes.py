"""Recipes: training options that belong together, as TOML files in `alexnet_fast/recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError
from alexnet_fast.utils.suggest import choose_from
from alexnet_fast.utils.toml import read_toml

RECIPES = ("paper", "modern", "small-images", "tiny-imagenet", "caltech256", "fashion-mnist", "demo")

_DIR = Path(__file__).parent / "recipes"


def recipe_path(name: str) -> Path:
    """Finds a recipe by its name, or a file of the user's own.

    Raises:
        UserError: It is neither.
    """
    if name in RECIPES:
        return _DIR / f"{name}.toml"
    if Path(name).is_file():
        return Path(name)
    raise UserError(f"--recipe {name}: no such recipe or file", choose_from(name, RECIPES), exit_code=2)


def recipe_options(name: str) -> dict[str, Any]:
    """Returns the options of a recipe of ours, as `TrainConfig` takes them."""
    return read_toml(_DIR / f"{name}.toml")
