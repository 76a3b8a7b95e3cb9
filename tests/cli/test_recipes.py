"""Recipes: shipped files that hold only differences, found by name or path, checked key by key."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from alexnet_fast.recipes import RECIPES, recipe_options, recipe_path
from alexnet_fast.training.config import TrainConfig


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_holds_only_differences_and_its_command(name: str) -> None:
    options = recipe_options(name)
    defaults = {field.name: field.default for field in dataclasses.fields(TrainConfig)}
    for key, value in options.items():
        assert defaults[key] != value, key
        assert isinstance(value, type(defaults[key])) or defaults[key] is None, key
    TrainConfig(data=Path("images"), run=Path("run"), **options)
    text = recipe_path(name).read_text(encoding="utf-8")
    assert re.search(rf"^#   alexnet-fast (train .*--recipe {name}|{name}$)", text, re.MULTILINE)
    assert "Not measured" in text or "docs/" in text or re.search(r"n = \d+", text)


def test_every_file_that_is_shipped_has_a_name() -> None:
    directory = recipe_path("paper").parent
    assert {file.stem for file in directory.glob("*.toml")} == set(RECIPES)


def test_the_command_line_wins_over_the_config_and_that_over_the_recipe(
    alexnet_fast, two_classes: Path, tmp_path: Path
) -> None:
    recipe, config = tmp_path / "mine.toml", tmp_path / "config.toml"
    recipe.write_text('model = "convnet-64"\nresize = 64\ncrop = 56\nepochs = 9\nbatch-size = 16\nlr = 0.9\n')
    config.write_text("epochs = 8\nlr = 0.002\n")
    done = alexnet_fast(
        "train", two_classes, "--recipe", recipe, "--config", config, "--epochs", 1,
        "--run", tmp_path / "run", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["epochs"] == 1
    saved = (tmp_path / "run" / "config.toml").read_text(encoding="utf-8")
    for line in (
        'model = "convnet-64"',
        "epochs = 1",
        "batch_size = 16",
        "lr = 0.002",
        'lr_schedule = "plateau"',
    ):
        assert line in saved.splitlines()


@pytest.mark.parametrize(
    ("recipe", "content", "complaint"),
    [
        ("modren", None, "--recipe modren: no such recipe or file; did you mean modern? choose from paper, "),
        ("quite-another", None, "--recipe quite-another: no such recipe or file; choose from paper, "),
        (
            "mine.toml",
            "warm-up-epochs = 1.0",
            "unknown option 'warm-up-epochs'; did you mean 'warmup_epochs'?",
        ),
        (
            "mine.toml",
            'ema_decay = "much"',
            "mine.toml: 'ema_decay': give a number of at least 0 and below 1, not 'much'",
        ),
        ("mine.toml", "nesterov = 1", "mine.toml: 'nesterov' needs true or false"),
        ("mine.toml", 'recipe = "paper"', "unknown option 'recipe'"),
        ("mine.toml", "epochs =", "mine.toml is not TOML"),
        ("mine.toml", "ema_decay = 1.0", "'ema_decay': give a number of at least 0 and below 1, not '1.0'"),
        ("mine.toml", 'optimizer = "adam"\nnesterov = true', "--nesterov needs --optimizer sgd"),
        ("mine.toml", "warmup-epochs = 90.0", "--warmup-epochs 90 takes up all 90 epochs; reduce it"),
        ("mine.toml", 'loss = "hinge"\nlabel-smoothing = 0.1', "--label-smoothing belongs to cross-entropy"),
        (
            "mine.toml",
            'batch-size = 16\ncuda-graphs = true\ndevice = "cpu"',
            "--cuda-graphs on cpu; give --device cuda",
        ),
        ("mine.toml", "lr = nan", "'lr': give a number of at least 0"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(
    refusal, two_classes: Path, tmp_path: Path, recipe: str, content: str | None, complaint: str
) -> None:
    if content is not None:
        recipe = str(tmp_path / recipe)
        Path(recipe).write_text(content, encoding="utf-8")
    assert complaint in refusal("train", two_classes, "--recipe", recipe, "--run", tmp_path / "run")
    assert not (tmp_path / "run").exists()
