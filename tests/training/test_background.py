"""What is seen through a transparent image belongs to the model, from its training to its exported file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from alexnet_fast.cli.main import commands
from alexnet_fast.errors import UserError
from alexnet_fast.prepare.transform import ResizeConfig
from alexnet_fast.training.checkpoint.model_io import load_trained
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.run import train


@pytest.fixture
def emoji(tmp_path: Path) -> Path:
    """Two classes of discs on nothing."""
    random = np.random.default_rng(0)
    for name in ("red", "blue"):
        (tmp_path / "emoji" / name).mkdir(parents=True)
        for number in range(6):
            image = Image.fromarray(random.integers(0, 256, (20, 20, 4), dtype=np.uint8))
            image.save(tmp_path / "emoji" / name / f"{number}.png")
    return tmp_path / "emoji"


def config(data: Path, run: Path, background: str) -> TrainConfig:
    return TrainConfig(
        data=data,
        run=run,
        model="linear",
        epochs=1,
        max_steps=1,
        batch_size=4,
        resize=16,
        crop=16,
        val_fraction=0.3,
        background=background,
        device="cpu",
    )


def test_checkpoint_and_exported_file_hold_it_and_a_run_keeps_it(emoji: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(config(emoji, run, "Black"))
    assert load_trained(run).spec.background == (0, 0, 0)
    with pytest.raises(UserError, match="has --background #000000, not #ff0000"):
        train(config(emoji, run, "red"), resume=True)
    out = tmp_path / "model"
    done = CliRunner().invoke(commands, ["export", str(run), "--output", str(out)])
    assert done.exit_code == 0, done.output
    fields = {entry.key: entry.value for entry in onnx.load(out / "model.onnx").metadata_props}
    preprocessing = next(value for key, value in fields.items() if key.endswith("preprocessing"))
    assert json.loads(preprocessing)["background"] == [0, 0, 0]
    assert 'background\\": [0, 0, 0]' in (out / "manifest.json").read_text()


def test_images_prepared_on_another_one_are_refused(emoji: Path, tmp_path: Path) -> None:
    out = tmp_path / "prepared"
    words = ["prepare", str(emoji), str(out), "--size", "16", "--background", "#000", "--workers", "1"]
    done = CliRunner().invoke(commands, words)
    assert done.exit_code == 0, done.output
    assert json.loads((out / "prepared.json").read_text())["options"]["background"] == "#000000"
    with pytest.raises(UserError, match="prepared with --background #000000, and .* #ffffff"):
        train(config(out, tmp_path / "run", "white"))


def test_prepare_lays_transparency_over_it(emoji: Path) -> None:
    content = (emoji / "red" / "0.png").read_bytes()
    black, white = (
        ResizeConfig(size=20, encoding="raw", background=colour).prepare(content)
        for colour in ("black", "white")
    )
    alpha = np.asarray(Image.open(emoji / "red" / "0.png"))[..., 3:].astype(int)
    between = np.frombuffer(white[128:], np.uint8).astype(int) - np.frombuffer(black[128:], np.uint8)
    assert np.abs(between.reshape(20, 20, 3) - (255 - alpha)).max() <= 1


@pytest.mark.parametrize("command", ["train", "prepare"])
def test_no_colour_is_refused_in_one_sentence(command: str, emoji: Path, tmp_path: Path) -> None:
    words = [str(emoji), str(tmp_path / "out")] if command == "prepare" else [str(emoji)]
    done = CliRunner().invoke(commands, [command, *words, "--background", "nocolour"])
    assert done.exit_code == 2
    assert "--background nocolour is not an opaque colour" in done.output
