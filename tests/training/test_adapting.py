"""What nobody gave yields, with a line; what somebody gave stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.models import build_model, input_of, model_names
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.recipes import RECIPES, recipe_options
from alexnet_fast.training.adapt_defaults import adapt_recipe, fit_batch
from alexnet_fast.training.config import RANDOM_AUGMENTATION, TrainConfig
from alexnet_fast.training.data import random_parts
from alexnet_fast.training.resizable import for_sizes

PLAIN = TrainConfig(data=Path("images"), run=Path("run"))


def values(recipe: str, **given: Any) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Returns the options of a recipe beside given ones, what the recipe says, and the names of the given."""
    options = recipe_options(recipe)
    everything = {name: getattr(PLAIN, name) for name in PLAIN.__dataclass_fields__}
    return {**everything, **options, **given}, options, set(given)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_fits_every_network(recipe: str) -> None:
    for model in model_names():
        found, lines = adapt_recipe(*values(recipe, model=model))
        config, own = TrainConfig(**found), input_of(model)
        spec = AugmentSpec(
            resize=config.resize or own.resize,
            crop=config.crop or own.crop,
            **random_parts(**{n: getattr(config, n) for n in RANDOM_AUGMENTATION}, epochs=config.epochs),
        )
        arguments = {"name": model, "num_classes": 10, "image_size": spec.crop}
        if config.dropout is not None:
            arguments["dropout"] = config.dropout
        with torch.device("meta"):
            for_sizes(build_model(arguments), config.progressive_resize)
        assert all(line.startswith("the recipe's ") for line in lines)


@pytest.mark.parametrize(
    ("recipe", "given", "changed", "line"),
    [
        (
            "modern",
            {"model": "alexnet-bn-64"},
            {"progressive_resize": "37:64"},
            "progressive-resize = 128:224 is 37:64: alexnet-bn",
        ),
        (
            "modern",
            {"model": "alexnet-227"},
            {"progressive_resize": "130:227"},
            "alexnet-227 reads 227 pixels",
        ),
        ("modern", {"crop": 192}, {"progressive_resize": "110:192"}, "alexnet-bn reads 192 pixels"),
        ("modern", {"epochs": 2}, {"warmup_epochs": 0.2}, "warmup-epochs = 3 is 0.2: --epochs is 2"),
        ("modern", {"optimizer": "adamw"}, {"nesterov": False}, "nesterov = True is left out"),
        ("modern", {"momentum": 0.0}, {"nesterov": False}, "nesterov = True is left out"),
        ("modern", {"loss": "hinge"}, {"label_smoothing": 0.0}, "label-smoothing = 0.1 is left out"),
        (
            "tiny-imagenet",
            {"model": "alexnet"},
            {"crop": None, "resize": None},
            "crop = 56 is left out: alexnet reads",
        ),
        ("fashion-mnist", {"model": "mlp"}, {"dropout": None}, "mlp has no dropout"),
        ("tiny-imagenet", {"model": "vgg16-64", "epochs": 30}, {}, ""),
        ("small-images", {"model": "convnet-96"}, {}, ""),
    ],
    ids=str,
)
def test_a_recipe_yields_to_options(
    recipe: str, given: dict[str, Any], changed: dict[str, Any], line: str
) -> None:
    before, proposed, names = values(recipe, **given)
    found, lines = adapt_recipe(before, proposed, names)
    assert {name: value for name, value in found.items() if before[name] != value} == pytest.approx(changed)
    assert len(lines) == len(changed)
    assert any(line in each for each in lines) or not line


def test_what_was_given_beside_a_recipe_never_yields() -> None:
    before, *rest = values(
        "modern", model="alexnet-bn-64", progressive_resize="128:224", epochs=2, warmup_epochs=3.0
    )
    assert adapt_recipe(before, *rest) == (before, [])
    with pytest.raises(UserError, match="--warmup-epochs 3 takes up all 2 epochs"):
        TrainConfig(**before)


@pytest.mark.parametrize(
    ("images", "processes", "accumulate", "size"),
    [
        (1000, 1, 1, 128),
        (128, 1, 1, 128),
        (127, 1, 1, 16),
        (40, 1, 1, 8),
        (7, 1, 1, 2),
        (2, 1, 1, 2),
        (1, 1, 1, 1),
        (1000, 3, 1, 126),
        (100, 3, 1, 15),
        (40, 4, 2, 16),
        (1000, 200, 1, 400),
        (9, 4, 2, 8),
    ],
)
def test_the_default_batch_suits_the_data(images: int, processes: int, accumulate: int, size: int) -> None:
    config = TrainConfig(data=Path("images"), run=Path("run"), grad_accum_steps=accumulate)
    assert fit_batch(config, images, processes) == size


def test_fewer_images_than_processes_are_an_error() -> None:
    with pytest.raises(UserError, match="3 training images cannot be shared by 4 processes in 1 passes"):
        fit_batch(PLAIN, 3, 4)
