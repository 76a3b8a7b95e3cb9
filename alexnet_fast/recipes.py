"""Recipes: presets of training options, as TOML files in `alexnet_fast/recipes`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alexnet_fast.errors import UserError
from alexnet_fast.utils.suggest import choose_from
from alexnet_fast.utils.toml import read_toml

RECIPES = ("paper", "modern", "small-images", "tiny-imagenet", "caltech256", "fashion-mnist", "demo")

_DIR = Path(__file__).parent / "recipes"


def recipe_path(name: str) -> Path:
    """Returns the file of a recipe by its name, or the user's own file.

    Raises:
        UserError: There is no such recipe or file.
    """
    if name in RECIPES:
        return _DIR / f"{name}.toml"
    if Path(name).is_file():
        return Path(name)
    raise UserError(f"--recipe {name}: no such recipe or file", choose_from(name, RECIPES), exit_code=2)


def recipe_options(name: str) -> dict[str, Any]:
    """Returns the options of a built-in recipe, for `TrainConfig`."""
    return read_toml(_DIR / f"{name}.toml")
