"""The main job from the command line: train, evaluate, export, predict, each with `--json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Json = Callable[..., dict[str, Any]]


def test_train_prints_its_result_and_its_progress(trained_run: Path) -> None:
    result = json.loads((trained_run.parent / "train.json").read_text(encoding="utf-8"))
    keys = {"run", "epochs", "steps", "best", "images_per_second", "bad_images", "resumed_from"}
    assert keys <= result.keys()
    assert result["run"] == str(trained_run)
    assert result["steps"] == 6
    said = (trained_run.parent / "train.err").read_text(encoding="utf-8")
    assert "48 training and 16 validation images, 2 classes" in said
    assert "epoch   2  train loss" in said


@pytest.mark.slow
def test_evaluate_a_run_an_onnx_file_and_the_plain_loader(
    json_of: Json, trained_run: Path, two_classes: Path, tmp_path: Path
) -> None:
    of_run = json_of("evaluate", trained_run, two_classes)
    assert of_run["images"] == 16
    assert 0 <= of_run["ten_crop"]["top1"] <= of_run["ten_crop"]["top5"] == 1
    plain = json_of("evaluate", trained_run, two_classes, "--no-dali", "--single-crop")
    assert plain["ten_crop"] is None
    assert plain["single_crop"] == of_run["single_crop"]
    exported = json_of("export", trained_run, "--onnx", "--output", tmp_path)
    of_onnx = json_of("evaluate", exported["onnx"], two_classes)
    assert of_onnx["single_crop"] is None
    assert of_onnx["ten_crop"] == of_run["ten_crop"]
    assert of_onnx["backend"].startswith("onnxruntime CPUExecutionProvider")


def test_export_builds_and_verifies_what_it_wrote(json_of: Json, trained_run: Path) -> None:
    result = json_of(
        "export", trained_run, "--onnx", "--trt", "--gpu-arch", "86,89", "--verify", "--images", 16
    )
    assert Path(result["onnx"]) == trained_run / "model.onnx"
    assert Path(result["engine"]) == trained_run / "model.engine"
    assert json.loads(Path(result["manifest"]).read_text(encoding="utf-8"))
    assert result["verified"]["images"] == 16
    assert result["verified"]["max_abs_error"] <= 1e-5
    assert result["verified"]["top1_agreement"] == 1.0
    assert result["compute_capabilities"] == ["8.6", "8.9"]
    assert result["ran_on_gpu"] is False


def test_predict_agrees_between_the_run_and_the_exported_file(
    json_of: Json, trained_run: Path, two_classes: Path, tmp_path: Path
) -> None:
    onnx = json_of("export", trained_run, "--output", tmp_path)["onnx"]
    directory = two_classes / "val" / "mono"
    ours, theirs = (json_of("predict", model, directory, "--top", 2) for model in (trained_run, onnx))
    assert len(ours["predictions"]) == len(theirs["predictions"]) == 8
    for a, b in zip(ours["predictions"], theirs["predictions"], strict=True):
        assert a["file"] == b["file"]
        assert a["error"] is None
        assert [guess["label"] for guess in a["classes"]] == [guess["label"] for guess in b["classes"]]
        assert sum(guess["probability"] for guess in a["classes"]) == pytest.approx(1)
        assert a["classes"][0]["probability"] == pytest.approx(b["classes"][0]["probability"], abs=1e-5)


def test_predict_classifies_the_others_and_fails_if_a_file_is_bad(
    json_of: Json, trained_run: Path, two_classes: Path, tmp_path: Path
) -> None:
    good = next((two_classes / "val" / "poly").iterdir())
    text = tmp_path / "notes.jpg"
    text.write_text("not an image", encoding="utf-8")
    result = json_of("predict", trained_run, text, good, tmp_path / "gone.png", code=1)
    assert [p["error"] for p in result["predictions"]] == ["not an image", None, "no such file or directory"]
    assert len(result["predictions"][1]["classes"]) == 2


@pytest.mark.slow
def test_a_run_is_repeated_from_its_own_config(json_of: Json, trained_run: Path, tmp_path: Path) -> None:
    again = json_of("train", "--config", trained_run / "config.toml", "--run", tmp_path / "again")
    first = json.loads((trained_run.parent / "train.json").read_text(encoding="utf-8"))
    assert again["best"] == first["best"]
    rows = [
        (run / "metrics.csv").read_text().splitlines()[-1].split(",")[3]
        for run in (trained_run, tmp_path / "again")
    ]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_resume_takes_the_options_of_the_run(json_of: Json, trained_run: Path) -> None:
    result = json_of("train", "--run", trained_run, "--resume", "--epochs", 3)
    assert result["resumed_from"] == 2
    assert result["epochs"] == 3


def test_doctor_tries_each_part_and_gives_hints(json_of: Json) -> None:
    result = json_of("doctor")
    parts = {"dali", "dali_gpu", "cuda", "tensorrt", "tensorrt_build", "onnxruntime", "triton"}
    assert parts <= result["can"].keys()
    assert result["can"]["dali"]
    assert result["can"]["onnxruntime"]
    assert result["can"]["tensorrt_build"]
    assert {p["part"] for p in result["problems"]} == {
        part for part, works in result["can"].items() if not works
    }
    assert all(problem["what"] and problem["hint"] for problem in result["problems"])
    assert result["can"]["cuda"] == bool(result["gpu"])


@pytest.mark.slow
def test_bench_input_names_hardware_and_versions(json_of: Json, two_classes: Path) -> None:
    result = json_of("bench", "input", two_classes, "--batch-size", 16, "--runs", 1)
    wanted = {"loader", "device", "workers", "batch_size", "images_per_second", "compared"}
    assert wanted | {"hardware", "versions", "runs", "low", "high"} <= result.keys()
    assert result["hardware"]["cpu"]["cores"] >= 1
    assert result["versions"]["torch"]
