"""Crops, more outputs and precisions of an export, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_fast.runtime.onnx_runtime import OnnxModel

Json = Callable[..., dict[str, Any]]


@pytest.mark.slow
def test_five_crops_with_every_output(
    json_of: Json, trained_run: Path, two_classes: Path, tmp_path: Path
) -> None:
    result = json_of(
        *("export", trained_run, "--output", tmp_path, "--crops", "five"),
        *("--logits", "--features", "--top-k", 2),
    )
    outputs = ["probabilities", "logits", "features", "top_classes", "top_probabilities"]
    assert (result["crops"], result["outputs"]) == ("five", outputs)
    assert result["accuracy"] is None
    assert (result["verified"]["images"], result["verified"]["source"]) == (8, "real")
    manifest = json.loads(Path(result["manifest"]).read_text(encoding="utf-8"))
    assert [tensor["name"] for tensor in manifest["outputs"]] == outputs
    of_onnx = json_of("evaluate", result["onnx"], two_classes)
    of_run = json_of("evaluate", trained_run, two_classes, "--crops", "five")
    assert of_onnx["five_crop"] == of_run["five_crop"]
    assert of_run["ten_crop"] is None
    found = OnnxModel(result["onnx"]).outputs(np.zeros((1, 64, 64, 3), np.uint8))
    assert list(found) == outputs


@pytest.mark.slow
def test_int8_takes_the_images_of_the_run_and_reports_its_accuracy(
    json_of: Json, trained_run: Path, two_classes: Path, tmp_path: Path
) -> None:
    result = json_of(
        *("export", trained_run, "--output", tmp_path, "--precision", "int8", "--calibration-images", 8)
    )
    assert (result["precision"], result["calibration_images"]) == ("int8", 8)
    assert (result["verified"]["images"], result["verified"]["source"]) == (16, "real")
    pytorch, file = result["accuracy"]
    assert (pytorch["name"], file["name"], file["images"]) == ("PyTorch", "model.onnx", 16)
    assert 0 < file["p99_abs_error"] <= file["max_abs_error"] < 0.5
    assert file["top1"] == json_of("evaluate", result["onnx"], two_classes)["ten_crop"]["top1"]
    assert pytorch["top1"] == json_of("evaluate", trained_run, two_classes)["ten_crop"]["top1"]


@pytest.mark.slow
def test_int8_of_weights_alone_with_images_that_are_named(
    json_of: Json, trained_run: Path, two_classes: Path, tmp_path: Path
) -> None:
    weights = trained_run / "model.safetensors"
    words = (
        "export",
        weights,
        "--output",
        tmp_path,
        "--precision",
        "int8",
        "--calibration-data",
        two_classes,
    )
    result = json_of(*words)
    assert result["calibration_images"] == 48
    assert result["accuracy"] is None, "there are no validation images to measure it on"
    assert (result["verified"]["images"], result["verified"]["source"]) == (32, "calibration")
    assert len(json_of(*words, "--data", two_classes, "--images", 4)["accuracy"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--top-k", "3"], "--top-k 3 exceeds the 2 classes of the network"),
        (["--precision", "bf16"], "--precision bf16 is for the engine, and none is built; add --trt"),
        (["--calibration-data", "DATA"], "--calibration-data is for int8, not fp32; add --precision int8"),
        (["--precision", "int8", "--calibration-data", "nowhere"], "no such folder: nowhere"),
        (["--precision", "int8", "--data", "nowhere"], "no such folder: nowhere"),
    ],
)
def test_wrong_options_are_refused_and_write_nothing(
    refusal: Callable[..., str],
    trained_run: Path,
    two_classes: Path,
    tmp_path: Path,
    options: list[str],
    said: str,
) -> None:
    words = [str(two_classes) if word == "DATA" else word for word in options]
    assert said in refusal("export", trained_run, "--output", tmp_path, *words)
    assert list(tmp_path.iterdir()) == []


def test_two_forms_that_contradict_each_other(
    alexnet_fast: Callable[..., Any], trained_run: Path, tmp_path: Path
) -> None:
    done = alexnet_fast("export", trained_run, "--output", tmp_path, "--crops", "five", "--ten-crop")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("alexnet-fast: --crops five and --ten-crop contradict each other; give one.")


@pytest.mark.slow
def test_short_forms_mean_the_same(json_of: Json, trained_run: Path, tmp_path: Path) -> None:
    for number, (short, long) in enumerate((("--ten-crop", "ten"), ("--single-crop", "single"))):
        first = json_of("export", trained_run, "--output", tmp_path / f"{number}a", short)
        second = json_of("export", trained_run, "--output", tmp_path / f"{number}b", "--crops", long)
        assert first["crops"] == second["crops"] == long
        assert Path(first["onnx"]).read_bytes() == Path(second["onnx"]).read_bytes()


@pytest.mark.slow
def test_the_rounding_of_float32_is_measured(trained_run: Path, two_classes: Path) -> None:
    words = [sys.executable, "-m", "benchmarks.rounding", trained_run, two_classes, "--images", 4]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.startswith("convnet-64, 4 images")
    found = {line.rsplit(maxsplit=1)[0].strip(): float(line.rsplit(maxsplit=1)[1]) for line in lines}
    assert {"PyTorch to float64", "onnxruntime, LRN as conv to PyTorch"} <= found.keys()
    assert all(0 < difference < 1e-5 for difference in found.values())
