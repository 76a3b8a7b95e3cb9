"""A data set smaller than the default batch: the default shrinks and says so, a given batch does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from alexnet_fast import AlexNet
from alexnet_fast.cli.main import commands
from alexnet_fast.errors import UserError
from alexnet_fast.utils.toml import read_toml

OPTIONS = ("--model", "linear", "--crop", "16", "--resize", "16", "--workers", "1", "--epochs")
SHRUNK = "batches of 8 instead of 128: there are 48 training images"


def train(*words: object) -> Result:
    return CliRunner().invoke(commands, ["train", *map(str, words)])


def test_a_default_batch_shrinks_with_a_line_and_a_resumed_run_keeps_it(
    two_classes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = train(two_classes, *OPTIONS, 1, "--run", run)
    assert done.exit_code == 0, done.output
    assert done.stderr.count(SHRUNK) == 1
    assert SHRUNK in (run / "log.txt").read_text(encoding="utf-8")
    assert read_toml(run / "config.toml")["batch_size"] == 8
    again = train("--run", run, "--resume", "--epochs", 2)
    assert again.exit_code == 0, again.output
    assert "changed from epoch 2, step 1 on: --epochs 1 -> 2" in again.stderr
    assert SHRUNK not in again.stderr


def test_a_batch_of_a_recipe_shrinks_too(two_classes: Path, tmp_path: Path) -> None:
    words = ("--recipe", "fashion-mnist", "--workers", 1, "--run", tmp_path / "run", "--model", "convnet-32")
    done = train(two_classes, *words, "--crop", 16, "--resize", 16, "--epochs", 1)
    assert done.exit_code == 0, done.output
    assert "batches of 8 instead of 64" in done.stderr


def in_a_file(directory: Path) -> tuple[object, ...]:
    (directory / "mine.toml").write_text("batch-size = 128\n", encoding="utf-8")
    return "--config", directory / "mine.toml"


@pytest.mark.parametrize("how", ["option", "config", "own recipe"])
def test_a_given_batch_size_that_does_not_fit_is_refused(two_classes: Path, tmp_path: Path, how: str) -> None:
    said = ("--batch-size", 128) if how == "option" else in_a_file(tmp_path)
    if how == "own recipe":
        said = ("--recipe", said[1])
    done = train(two_classes, *OPTIONS, 1, "--run", tmp_path / "run", *said)
    assert done.exit_code == 2
    assert "--batch-size 128 exceeds the 48 training images; give --batch-size 48" in done.stderr
    assert not (tmp_path / "run").exists()


def test_fit_on_few_images(two_classes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"model": "linear", "crop": 16, "resize": 16, "workers": 1}
    assert len(AlexNet(two_classes, run=tmp_path / "run", **options).fit(epochs=1).history["loss"]) == 1
    assert SHRUNK in caplog.text
    with pytest.raises(UserError, match="--batch-size 128 exceeds"):
        AlexNet(two_classes, run=tmp_path / "other", batch_size=128, **options).fit(epochs=1)


def test_a_larger_crop_resizes_to_larger_images_by_itself(two_classes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = train(two_classes, "--model", "linear", "--crop", 72, "--epochs", 1, "--workers", 1, "--run", run)
    assert done.exit_code == 0, done.output
    refused = train(two_classes, "--model", "alexnet", "--resize", 100, "--run", tmp_path / "other")
    assert "--crop 224 does not fit into images whose shorter side is 100" in refused.stderr
