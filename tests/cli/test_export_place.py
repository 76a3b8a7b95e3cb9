"""`export --output` takes a folder or a file, and writes what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from alexnet_fast.cli.commands.export_output import export_place
from alexnet_fast.cli.main import commands
from alexnet_fast.errors import UserError
from alexnet_fast.models import create_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights of a small network."""
    path = tmp_path_factory.mktemp("weights") / "linear.pth"
    torch.save(create_model("linear", 3).state_dict(), path)
    return path


def export(weights: Path, *arguments: object) -> Result:
    words = ["export", str(weights), "--model", "linear", *map(str, arguments), "--json"]
    return CliRunner().invoke(commands, words)


@pytest.mark.parametrize(
    ("output", "trt", "place"),
    [
        (None, False, ("w", "model")),
        ("out", False, ("out", "model")),
        ("out.v2", False, ("out.v2", "model")),
        ("a/b/net.onnx", False, ("a/b", "net")),
        ("net.v1.onnx", False, (".", "net.v1")),
        ("net.engine", True, (".", "net")),
        (".onnx", False, (".onnx", "model")),
        ("café 😀.onnx", False, (".", "café 😀")),
    ],
)
def test_a_path_with_a_file_suffix_is_a_file(output: str | None, trt: bool, place: tuple[str, str]) -> None:
    found = export_place(None if output is None else Path(output), Path("w/net.pth"), trt=trt)
    assert found == (Path(place[0]), place[1])


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("net.engine", "is an engine, and none is built; add --trt"),
        ("net.ONNX", "give net.onnx"),
        ("net.pth", "an export writes ONNX files and TensorRT engines, not .pth; give a folder, or net.onnx"),
        ("net.trt", "not .trt; give a folder, or net.onnx"),
        ("folder.onnx", "is a folder with the extension of a file"),
    ],
)
def test_a_file_type_that_export_does_not_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.onnx").mkdir()
    with pytest.raises(UserError) as raised:
        export_place(Path(output), Path("w"), trt=False)
    assert said in str(raised.value)


def test_the_named_file_is_written_and_predicts(weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "net.onnx"
    done = export(weights, "--output", file)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["onnx"] == str(file)
    assert sorted(path.name for path in file.parent.iterdir()) == ["manifest.json", "net.onnx"]
    assert json.loads((file.parent / "manifest.json").read_text())["onnx"]["file"] == "net.onnx"
    # It may be written again, and a damaged one is found out by its manifest.
    assert export(weights, "--output", file).exit_code == 0
    file.write_bytes(file.read_bytes() + b"x")
    damaged = CliRunner().invoke(commands, ["predict", str(file), str(file)])
    assert damaged.exit_code != 0


def test_a_folder_holds_one_export_unless_forced(weights: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    assert export(weights, "--output", first).exit_code == 0
    refused = export(weights, "--output", second)
    assert refused.exit_code == 2
    assert f"{tmp_path / 'manifest.json'} belongs to {first}" in refused.stderr
    assert not second.exists()
    assert export(weights, "--output", second, "--force").exit_code == 0
    first.unlink()
    assert export(weights, "--output", tmp_path / "b.onnx").exit_code == 0


def test_a_foreign_file_of_the_same_name_is_kept(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"somebody's own")
    refused = export(weights, "--output", tmp_path / "net.onnx")
    assert "exists and was not written by an export" in refused.stderr
    assert (tmp_path / "net.onnx").read_bytes() == b"somebody's own"
