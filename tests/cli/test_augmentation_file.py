"""Augmentation declared in a file: between the command line and every other file of options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DECLARED = (
    "random-resized-crop = true\ncrop_min_scale = 0.25\nhue = 0.05\nflip = false\nresize = 64\ncrop = 56\n"
)


@pytest.mark.parametrize("text", [DECLARED, f"[augmentation]\n{DECLARED}"])
def test_a_file_declares_the_augmentation_of_a_run(
    alexnet_fast, two_classes: Path, tmp_path: Path, text: str
) -> None:
    from alexnet_fast.training.checkpoint.model_io import load_trained

    declared, config = tmp_path / "augmentation.toml", tmp_path / "config.toml"
    declared.write_text(text)
    config.write_text(
        'model = "convnet-64"\nhue = 0.4\nbatch-size = 16\n[augmentation]\ncrop-min-scale = 0.9\n'
    )
    done = alexnet_fast(
        "train", two_classes, "--augmentation", declared, "--config", config, "--hue", 0.1, "--epochs", 1,
        "--lr", 0.001, "--run", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    saved = (tmp_path / "run" / "config.toml").read_text()
    for line in (
        "random_resized_crop = true",
        "crop_min_scale = 0.25",
        "hue = 0.1",
        "flip = false",
        "crop = 56",
    ):
        assert line in saved.splitlines()
    spec = load_trained(tmp_path / "run").spec
    assert not spec.flip
    assert spec.random_resized_crop is not None
    assert spec.random_resized_crop.min_scale == 0.25
    assert spec.color_jitter is not None
    assert spec.color_jitter.hue == 0.1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read"),
        ("hue =", "is not TOML"),
        ("hues = 0.1", "'hues' is not an augmentation option; did you mean 'hue'?"),
        (
            "epochs = 3",
            "'epochs' is not an augmentation option; choose from resize, crop, random_resized_crop",
        ),
        ('hue = "much"', "'hue': give a number of at least 0 and at most 0.5, not 'much'"),
        ("flip = 1", "'flip' needs true or false"),
        ("hue = 0.9", "'hue': give a number of at least 0 and at most 0.5, not '0.9'"),
        ('progressive_resize = "9"', "--progressive-resize 9"),
        ("crop = 300\nresize = 256", "--crop 300 does not fit into images"),
        (
            "[augmentation]\nflip = false\n[other]\nx = 1",
            "'(other|augmentation)' is not an augmentation option",
        ),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(
    alexnet_fast, two_classes: Path, tmp_path: Path, content: str | None, complaint: str
) -> None:
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_text(content)
    done = alexnet_fast("train", two_classes, "--augmentation", path, "--run", tmp_path / "run")
    assert done.returncode == 2, done.stderr
    assert re.search(complaint, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_show_augment_reads_the_same_augmentation_file(
    alexnet_fast, two_classes: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('flip = false\nhue = 0.3\npca_jitter = "off"\n')
    image = tmp_path / "augment.png"
    done = alexnet_fast("show", "augment", two_classes, "--augmentation", path, "--output", image)
    assert done.returncode == 0, done.stderr
    assert "show augment does not use pca_jitter" in done.stderr
    assert image.exists()
