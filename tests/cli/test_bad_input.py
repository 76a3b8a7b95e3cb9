"""A mistake ends in one line that names the file or option, never in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest


def complaint(done: object) -> str:
    """Returns the one line that a failed command said."""
    assert done.returncode in (1, 2), done  # type: ignore[attr-defined]
    assert done.stdout == ""  # type: ignore[attr-defined]
    lines = done.stderr.strip().splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 1, lines
    assert lines[0].startswith("alexnet-fast: ")
    return str(lines[0])


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["trian"], "No such command 'trian'; did you mean 'train'?", 2),
        (["train"], "Missing argument 'DATA'", 2),
        (["train", "nowhere"], "no such folder: nowhere", 2),
        (["train", "DATA", "--modle", "x"], "No such option '--modle'", 2),
        (["train", "DATA", "--model", "alexnet-66"], "did you mean alexnet-64?", 2),
        (
            ["train", "DATA", "--batch-size", "400"],
            "--batch-size 400 exceeds the 48 training images",
            2,
        ),
        (
            ["train", "DATA", "--epochs", "0"],
            "Invalid value for '--epochs': give a whole number of at least 1",
            2,
        ),
        (
            ["train", "DATA", "--epochs", "many"],
            "give a whole number of at least 1 and at most 1,000,000, not 'many'",
            2,
        ),
        (["train", "DATA", "--crop", "300", "--resize", "256"], "--crop 300 does not fit", 2),
        (["train", "DATA", "--config", "nowhere.toml"], "cannot read nowhere.toml", 2),
        (["train", "DATA", "--device", "tpu"], "--device tpu is not a device", 2),
        (["train", "DATA", "--run", "RUN"], "holds a run already; give --resume", 1),
        (["evaluate", "nowhere", "DATA"], "no such run or file: nowhere", 2),
        (["evaluate", "DATA/train", "DATA"], "train is a folder of images; give a run folder", 2),
        (["evaluate", "IMAGE", "DATA"], "is an image; give a run folder", 2),
        (["evaluate", "RUN", "nowhere"], "no such folder: nowhere", 2),
        (["evaluate", "RUN", "DATA", "--split", "test"], "has no test/ folder", 2),
        (
            ["evaluate", "RUN", "DATA/train", "--split", "all", "--batch-size", "0"],
            "'--batch-size': give a whole",
            2,
        ),
        (["predict", "RUN", "EMPTY"], "no images in", 2),
        (["predict", "nowhere.onnx", "IMAGE"], "there is no file nowhere.onnx", 1),
        (["predict", "IMAGE.onnx", "IMAGE"], "is not an ONNX file", 1),
        (["export", "nowhere"], "no such run or file: nowhere", 2),
        (["export", "RUN", "--precision", "fp16"], "--precision fp16 is for the engine", 2),
        (["export", "RUN", "--batch-profile", "1,8,64"], "--batch-profile is for the engine", 2),
        (
            ["export", "RUN", "--max-batch-size", "8"],
            "--batch-profile or --max-batch-size is for the engine",
            2,
        ),
        (
            ["export", "RUN", "--trt", "--batch-profile", "8,4"],
            "--batch-profile 8,4 is not three batch sizes",
            2,
        ),
        (
            ["export", "RUN", "--trt", "--builder-optimization-level", "6"],
            "Invalid value for '--builder-optimization-level'",
            2,
        ),
        (["export", "RUN", "--trt", "--gpu-arch", "90"], "--gpu-arch 90 is not supported", 2),
        (["export", "RUN", "--verify", "--data", "nowhere"], "no such folder: nowhere", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_ends_in_one_line(
    alexnet_fast,
    trained_run: Path,
    two_classes: Path,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    code: int,
) -> None:
    image = next((two_classes / "val" / "mono").iterdir())
    (tmp_path / "image.onnx").write_bytes(image.read_bytes())
    (tmp_path / "empty").mkdir()
    places = {
        "DATA/train": two_classes / "train",
        "DATA": two_classes,
        "RUN": trained_run,
        "IMAGE.onnx": tmp_path / "image.onnx",
        "IMAGE": image,
        "EMPTY": tmp_path / "empty",
    }
    done = alexnet_fast(*(places.get(argument, argument) for argument in arguments), cwd=tmp_path)
    assert said in complaint(done)
    assert done.returncode == code


@pytest.mark.slow
def test_ten_crops_need_images_larger_than_the_crop(alexnet_fast, two_classes: Path, tmp_path: Path) -> None:
    options = ("--model", "convnet-64", "--epochs", 1, "--batch-size", 16)
    assert alexnet_fast("train", two_classes, "--run", tmp_path / "whole", *options).returncode == 0
    for command in (
        ["evaluate", tmp_path / "whole", two_classes, "--ten-crop"],
        ["predict", tmp_path / "whole", next((two_classes / "val" / "mono").iterdir()), "--ten-crop"],
        ["export", tmp_path / "whole", "--ten-crop"],
    ):
        line = complaint(alexnet_fast(*command))
        assert "ten crops need an image larger than the network's input: both are 64 pixels" in line
        assert "--single-crop" in line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lerning-rate = 1", "unknown option 'lerning-rate'"),
        ("epoch = 3", "unknown option 'epoch'; did you mean 'epochs'?"),
        ("epochs = 'many'", "'epochs': give a whole number of at least 1 and at most 1,000,000, not 'many'"),
        ("dali = 'yes'", "'dali' needs true or false"),
        ("epochs = ", "is not TOML"),
    ],
)
def test_a_config_file_with_a_mistake(
    alexnet_fast, two_classes: Path, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    assert said in complaint(alexnet_fast("train", two_classes, "--config", tmp_path / "run.toml"))


def test_debug_shows_the_traceback(alexnet_fast) -> None:
    done = alexnet_fast("train", "nowhere", "--debug")
    assert "Traceback" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("alexnet-fast: no such folder")
