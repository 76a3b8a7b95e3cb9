"""Names whose bytes are not UTF-8: read back as they were, shown as their escapes, never a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from alexnet_fast.data.class_map import ClassMap
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.runtime.metadata import GraphMetadata
from alexnet_fast.serve.triton.model_config import text_proto
from alexnet_fast.training.log import log, logging_to_file
from alexnet_fast.training.tensorboard import TensorBoard
from warm_commands import run_command

BYTES = b"k\xe9l"
NAME = os.fsdecode(BYTES)
NAMES = ("ant", NAME)


def test_a_class_map_comes_back_and_is_json_in_utf8(tmp_path: Path) -> None:
    ClassMap.from_names(NAMES).save(tmp_path / "classes.json")
    assert json.loads((tmp_path / "classes.json").read_text(encoding="utf-8")) == list(NAMES)
    assert ClassMap.load(tmp_path / "classes.json").names == NAMES


def test_what_an_onnx_file_says_of_itself_is_utf8_and_comes_back(tmp_path: Path) -> None:
    spec = AugmentSpec(resize=64, crop=56)
    metadata = GraphMetadata(
        classes=NAMES,
        spec=spec,
        model="linear",
        crops="single",
        version="1",
        provenance={"data": f"/data/{NAME}"},
    )
    props = {key: value.encode("utf-8").decode("utf-8") for key, value in metadata.to_props().items()}
    assert GraphMetadata.from_props(props, "model.onnx") == metadata


def test_a_log_file_shows_them(tmp_path: Path) -> None:
    with logging_to_file(tmp_path / "log.txt"):
        log.warning("left out %s", NAME)
    assert r"left out k\udce9l" in (tmp_path / "log.txt").read_text(encoding="utf-8")


def test_tensorboard_writes_into_a_folder_of_that_name(tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / NAME, 0)
    open_before = len([*Path("/proc/self/fd").iterdir()])
    board.close()
    assert len([*Path("/proc/self/fd").iterdir()]) < open_before
    (file,) = (tmp_path / NAME).iterdir()
    assert file.name.startswith("events.out.tfevents")
    assert file.stat().st_size > 0


def test_a_figure_shows_them() -> None:
    from matplotlib.figure import Figure

    from alexnet_fast.plots.style import png_bytes

    figure = Figure((2, 1))
    figure.suptitle(NAME)
    figure.add_subplot().set_xlabel(NAME)
    shown, escaped = png_bytes(figure), Figure((2, 1))
    escaped.suptitle(r"k\udce9l")
    escaped.add_subplot().set_xlabel(r"k\udce9l")
    assert shown == png_bytes(escaped)


def test_triton_s_files_have_the_bytes() -> None:
    assert text_proto({"name": NAME}) == 'name: "k\\351l"\n'


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set whose folder, a class, a good image and a bad one have such names."""
    root = tmp_path / os.fsdecode(b"d\xe9")
    for part in ("train", "val"):
        for number, name in enumerate(NAMES):
            (root / part / name).mkdir(parents=True)
            for copy in ("1", os.fsdecode(b"\xe9")):
                Image.new("RGB", (64, 64), (200 * number, 30, 90)).save(root / part / name / f"{copy}.png")
    (root / "train" / NAME / os.fsdecode(b"bad\xe9.jpg")).write_text("x")
    return root


def run(*words: object, cwd: Path) -> str:
    """Runs a command that must end well; returns what it printed."""
    done = run_command(*words, cwd=cwd)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_from_a_folder_to_answers(data: Path, tmp_path: Path) -> None:
    place, train = os.fsdecode(b"r\xe9"), ("--model", "linear", "--batch-size", 1, "--workers", 1)
    run("scan", data, "--write-exclude", tmp_path / "list", cwd=tmp_path)
    assert (tmp_path / "list").read_bytes() == b"train/k\xe9l/bad\xe9.jpg\n"
    run("train", data, *train, "--epochs", 1, "--run", place, "--on-bad-image", "skip", cwd=tmp_path)
    assert r"left out" in (tmp_path / place / "log.txt").read_text(encoding="utf-8")
    run("train", *train, "--epochs", 2, "--run", place, "--resume", cwd=tmp_path)
    run("export", place, "--output", os.fsdecode(b"e\xe9"), cwd=tmp_path)
    for model in (place, os.fsdecode(b"e\xe9/model.onnx")):
        shown = run("predict", model, data / "val" / NAME, cwd=tmp_path)
        assert r"k\udce9l" in shown
        answer = json.loads(run("predict", model, data / "val" / NAME, "--json", cwd=tmp_path))
        files = [row["file"] for row in answer["predictions"]]
        assert files == [str(data / "val" / NAME / name) for name in ("1.png", os.fsdecode(b"\xe9.png"))]
        assert {row["label"] for row in answer["predictions"][0]["classes"]} == set(NAMES)
