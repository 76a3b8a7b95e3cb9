"""A path that is something else than its argument has to be is said by what it is; so is a wrong order."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from alexnet_fast.cli.main import commands
from alexnet_fast.cli.path_kinds import Kind, kind_of


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of everything that a path may be."""
    top = tmp_path_factory.mktemp("place")
    for directory in (
        "run/checkpoints",
        "images/train/cat",
        "versions/1",
        "empty",
        "exported",
        "other",
        "shards",
    ):
        (top / directory).mkdir(parents=True)
    for file in (
        *("run/config.toml", "run/checkpoints/best.pt", "images/train/cat/a.JPG", "versions/1/model.onnx"),
        *("exported/model.onnx", "other/notes.txt", "shards/0.tar", "net.onnx", "net.engine", "net.pth"),
        *("photo.jpg", "options.toml", "list.csv", "a.zip", "net.safetensors", "run/curves.png"),
    ):
        (top / file).write_bytes(b"")
    (top / "noending").write_bytes(b"\xff\xd8\xff\xe0 JPEG")
    os.mkfifo(top / "pipe.jpg")
    return top


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("run", Kind.RUN),
        ("run/checkpoints/best.pt", Kind.WEIGHTS),
        ("images", Kind.DATA),
        ("images/train", Kind.DATA),
        ("images/train/cat", Kind.DATA),
        ("shards", Kind.DATA),
        ("versions", Kind.EXPORT),
        ("exported", Kind.EXPORT),
        ("empty", Kind.EMPTY),
        ("other", Kind.UNKNOWN),
        ("noending", Kind.IMAGE),
        ("photo.jpg", Kind.IMAGE),
        ("photo.jpg/x", Kind.MISSING),
        ("pipe.jpg", Kind.UNKNOWN),
        ("net.engine", Kind.ENGINE),
        ("options.toml", Kind.CONFIG),
        ("n" * 300, Kind.UNKNOWN),
    ],
)
def test_the_kind_of_a_path(place: Path, name: str, kind: Kind) -> None:
    assert kind_of(place / name) is kind


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "predict photo.jpg run",
            "photo.jpg is an image and run is a run; the order is MODEL IMAGES: {} run photo.jpg",
        ),
        (
            "predict images net.onnx",
            "images is a folder of images and net.onnx is an ONNX file; the order is MODEL",
        ),
        ("predict photo.jpg noending net.pth", "the order is MODEL IMAGES: {} net.pth photo.jpg noending"),
        ("predict photo.jpg nowhere", "MODEL photo.jpg is an image; give a run folder, a checkpoint"),
        ("predict run run", "IMAGES run is a run; give image files, or folders of images"),
        ("predict exported photo.jpg", "is a folder with an exported model; give exported/model.onnx"),
        (
            "evaluate images run",
            "images is a folder of images and run is a run; the order is MODEL DATA: {} run images",
        ),
        ("evaluate net.onnx photo.jpg", "DATA photo.jpg is an image; give the folder of images"),
        ("features images run out", "the order is MODEL DATA OUT: {} run images out"),
        (
            "features out images run",
            "out is not there and run is a run; the order is MODEL DATA OUT: {} run images out",
        ),
        (
            "features net.onnx images out",
            "is an ONNX file; give the run or the weights that it was exported from",
        ),
        ("features run images photo.jpg", "OUT photo.jpg is an image; give a folder to write to"),
        ("export images", "RUN|WEIGHTS images is a folder of images; give a run folder, a checkpoint"),
        ("export net.onnx", "RUN|WEIGHTS net.onnx is an ONNX file"),
        (
            "serve photo.jpg",
            "is an image; give an ONNX file; to classify images, use alexnet-fast predict MODEL photo.jpg",
        ),
        ("serve run", "MODELS run is a run; export it first: alexnet-fast export run"),
        ("serve net.pth", "is a file of weights; export it first: alexnet-fast export net.pth"),
        ("serve images", "MODELS images is a folder of images; give an ONNX file"),
        (
            "train run",
            "DATA run is a run; give a folder of images; to resume the run: alexnet-fast train --run run",
        ),
        ("train net.pth", "to begin with these weights: --weights net.pth"),
        ("train options.toml", "to take options from a file: --config options.toml"),
        ("train photo.jpg", "DATA photo.jpg is an image; give the folder of images"),
        (
            "prepare out images",
            "out is not there and images is a folder of images; the order is SRC OUT: {} images out",
        ),
        (
            "prepare empty images",
            "empty is an empty folder and images is a folder of images; the order is SRC OUT",
        ),
        ("prepare images photo.jpg", "OUT photo.jpg is an image; give a folder to write to"),
        ("prepare run out", "SRC run is a run; give a folder of images, an archive or a table of them"),
        ("scan run", "DATA run is a run; give a folder of images"),
        ("show curves images", "RUN images is a folder of images; give the folder of a run"),
        ("show crops photo.jpg run", "the order is MODEL IMAGE: {} run photo.jpg"),
        ("show confusion images run", "the order is MODEL DATA: {} run images"),
        ("show kernels photo.jpg", "MODEL photo.jpg is an image; give a run folder"),
        ("bench serve run", "MODEL run is a run; export it first"),
        ("bench infer images", "is a folder of images; give a run folder"),
    ],
)
def test_a_wrong_path_is_named_with_its_kind(
    place: Path, monkeypatch: pytest.MonkeyPatch, words: str, said: str
) -> None:
    monkeypatch.chdir(place)
    done = CliRunner().invoke(commands, shlex.split(words), prog_name="alexnet-fast")
    assert done.exit_code == 2, done.output
    command = "alexnet-fast " + " ".join(
        w for w in words.split()[: 2 if words.startswith(("show", "bench")) else 1]
    )
    assert said.format(command) in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_names_are_quoted_for_the_shell(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    Path("my photo.jpg").write_bytes(b"")
    done = CliRunner().invoke(commands, ["predict", "my photo.jpg", "run"], prog_name="alexnet-fast")
    assert "alexnet-fast predict run 'my photo.jpg'" in done.stderr
