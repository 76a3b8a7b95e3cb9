"""The demo from its data to its page, as a newcomer runs it."""

from __future__ import annotations

import dataclasses
import errno
import json
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alexnet_fast.cli.main import commands
from alexnet_fast.data import open_data
from alexnet_fast.demo import run as job
from alexnet_fast.demo.report import repeating_commands
from alexnet_fast.demo.run import DemoResult, demo_config, lay_out_cells
from alexnet_fast.errors import UserError


def test_the_split_keeps_the_classes_in_proportion_and_every_image_once(tmp_path: Path) -> None:
    splits = open_data(lay_out_cells(tmp_path / "data"))
    assert splits.test is not None
    parts = (splits.train, splits.val, splits.test)
    assert [len(part) for part in parts] == [2100, 262, 262]
    assert [round(part.counts()[0] / len(part), 2) for part in parts] == [0.41, 0.41, 0.41]
    names = [name for part in parts for name in part.names]
    assert len(set(names)) == 2624


def test_the_split_is_the_same_again(tmp_path: Path) -> None:
    first = open_data(lay_out_cells(tmp_path / "data")).train.names
    assert open_data(lay_out_cells(tmp_path / "data")).train.names == first
    assert open_data(lay_out_cells(tmp_path / "other")).train.names == first


def test_dangling_links_are_replaced(tmp_path: Path) -> None:
    """`make clean` and another place for .venv leave a folder of links that lead nowhere."""
    directory = lay_out_cells(tmp_path / "data")
    (moved, copied, *_) = sorted((directory / "test" / "mono").iterdir())
    wanted = moved.read_bytes()
    moved.unlink()
    moved.symlink_to(tmp_path / "gone" / moved.name)
    copied.unlink()
    copied.write_bytes(b"the user's own")
    lay_out_cells(directory)
    assert moved.read_bytes() == wanted
    assert copied.read_bytes() == b"the user's own"


def test_a_folder_without_links_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, _: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "symlink_to", refused)
    with pytest.raises(UserError, match="cannot link the images into .*: operation not permitted; give"):
        lay_out_cells(tmp_path / "data")


def test_the_commands_of_the_page_are_those_of_a_shell(tmp_path: Path) -> None:
    config = demo_config(tmp_path / "my cells", device="cpu", workers=1, dali=True)
    lines = [shlex.split(line) for line in repeating_commands(config)]
    assert {len(words) for words in lines} == {4, 6}
    assert all(words[0] == "alexnet-fast" for words in lines)
    assert all(str(tmp_path / "my cells") in " ".join(words) for words in lines)
    assert lines[2][2:4] == [str(tmp_path / "my cells" / "run"), str(tmp_path / "my cells" / "data")]


@pytest.mark.parametrize(
    ("resumed", "wanted"),
    [
        (None, "training, evaluation, export, prediction"),
        (1, "training from epoch 2 on, evaluation, export, prediction"),
        (3, "no training, evaluation, export, prediction"),
    ],
)
def test_the_time_of_a_resumed_demo_names_its_parts(resumed: int | None, wanted: str) -> None:
    fields = {field.name: None for field in dataclasses.fields(DemoResult)}
    training = {"epochs": 3, "resumed_from": resumed}
    result = DemoResult(**{**fields, "training": training})  # type: ignore[arg-type]
    assert result.time_note == wanted


class Figures(HTMLParser):
    """Collects the images of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.sources.append(dict(attrs)["src"] or "")


def check_page(result: dict[str, Any]) -> str:
    """Checks what the demo said and wrote; returns its page."""
    assert {"run", "single_crop", "ten_crop", "onnx", "engine", "report", "seconds"} <= result.keys()
    assert 0.58 < result["majority"] < 0.60
    assert result["max_abs_error"] <= 1e-5
    for name in ("onnx", "engine", "report"):
        assert Path(result[name]).stat().st_size > 100_000
    page = Path(result["report"]).read_text(encoding="utf-8")
    figures = Figures()
    figures.feed(page)
    assert len(figures.sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in figures.sources)
    assert "may sit on both sides of the split" in page
    return page


@pytest.mark.slow
def test_the_demo_with_a_small_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"model": "convnet-32", "resize": 36, "crop": 32, "epochs": 3, "batch_size": 32, "lr": 0.05}
    monkeypatch.setattr(
        job, "recipe_options", lambda _: {**small, "lr_schedule": "cosine", "log_interval": 5}
    )
    words = ["demo", "--output", str(tmp_path / "demo"), "--json"]
    first, again = (CliRunner().invoke(commands, words, catch_exceptions=False) for _ in range(2))
    result = json.loads(first.stdout)
    check_page(result)
    assert result["ten_crop"]["top1"] >= 0.7
    assert json.loads(again.stdout)["ten_crop"] == result["ten_crop"]


@pytest.mark.soak
def test_the_demo(tmp_path: Path) -> None:
    """Ten-crop top-1 at least 0.85, where the majority class is 0.59."""
    command = [sys.executable, "-m", "alexnet_fast", "demo", "--output", str(tmp_path / "demo"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "alexnet-bn is AlexNet with batch normalisation" in check_page(result)
    assert result["ten_crop"]["top1"] >= 0.85
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["ten_crop"] == result["ten_crop"]
