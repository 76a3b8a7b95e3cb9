"""A part of the data without any image that can be decoded is an error, not a loss of 0."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from train_jobs import OPTIONS

from alexnet_fast.cli.main import commands
from alexnet_fast.errors import UserError
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.run import train


def spoiled(two_classes: Path, root: Path, part: str) -> Path:
    """Copies the data, with garbage for every image of a part."""
    shutil.copytree(two_classes, root)
    for file in (root / part).glob("*/*"):
        file.unlink()
        file.write_bytes(b"garbage")
    return root


@pytest.mark.parametrize(
    ("part", "dali", "said"),
    [
        ("val", True, "no validation image of epoch 1 could be decoded, of 16 in .*/data/val"),
        ("train", True, "no training image of epoch 1 could be decoded, of 48 in .*/data/train"),
        ("val", False, "no validation image of epoch 1 could be decoded, of 16 in .*/data/val"),
    ],
)
def test_training_ends_with_an_error(
    part: str, dali: bool, said: str, two_classes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = spoiled(two_classes, tmp_path / "data", part)
    options = {**OPTIONS, "dali": dali, "epochs": 1, "on_bad_image": "skip", "checkpoint_steps": 0}
    with pytest.raises(UserError, match=said) as error:
        train(TrainConfig(data=data, run=tmp_path / "run", **options))
    assert error.value.exit_code == 1
    assert not list((tmp_path / "run" / "checkpoints").iterdir())
    assert caplog.text.count("left out ") == (16 if part == "val" else 48)


@pytest.mark.parametrize("command", ["evaluate", "features"])
def test_so_do_other_commands(command: str, two_classes: Path, tmp_path: Path) -> None:
    good = TrainConfig(data=two_classes, run=tmp_path / "run", **{**OPTIONS, "epochs": 1, "max_steps": 1})
    train(good)
    data = spoiled(two_classes, tmp_path / "data", "val")
    more = [str(tmp_path / "out")] if command == "features" else []
    words = [command, str(tmp_path / "run"), str(data), *more, "--on-bad-image", "skip", "--json"]
    done = CliRunner().invoke(commands, words)
    assert done.exit_code == 1, done.output
    assert "none of the images in" in done.output
    with pytest.raises(json.JSONDecodeError):
        json.loads(done.stdout.splitlines()[-1] if done.stdout else "")
