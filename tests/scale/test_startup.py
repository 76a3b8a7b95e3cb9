"""From the command to the first batch of many pictures; links to a few, made by `bench.many_links`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from alexnet_fast.bench.many_links import lay_out_folders, lay_out_shards
from alexnet_fast.data import open_data

PICTURES, CLASSES = 12_000, 20


@pytest.fixture(scope="module")
def laid_out(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12,000 pictures as class folders and as shards."""
    root = tmp_path_factory.mktemp("scale")
    files = []
    for number, picture in enumerate(photographs):
        files.append(root / f"{number}.jpg")
        picture.resize((384, 256)).save(files[-1])
    lay_out_folders(files, root / "folders", PICTURES, CLASSES)
    lay_out_shards(files, root / "shards", PICTURES, CLASSES)
    return root


@pytest.mark.parametrize("form", ["folders", "shards"])
def test_every_link_is_a_picture(laid_out: Path, form: str) -> None:
    data = open_data(laid_out / form)
    assert len(data.train) + len(data.val) == PICTURES
    assert len(data.classes) == CLASSES
    assert data.train.counts()[0] + data.val.counts()[0] == PICTURES // CLASSES


def test_the_first_batch_is_measured_with_and_without_a_kept_list(laid_out: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "alexnet_fast",
        "bench",
        "startup",
        str(laid_out / "shards"),
        "--runs",
        "1",
    ]
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["images"] == len(open_data(laid_out / "shards").train)
    assert [other["name"] for other in result["compared"]] == ["without a kept list", "with a kept list"]
    for other in result["compared"]:
        assert 0 < sum(other["parts"].values()) < other["seconds"]
        assert other["peak_mib"] > 100
    assert result["low"] <= result["seconds"] <= result["high"]
    assert {"hardware", "versions", "runs"} <= set(result)


def test_a_folder_without_pictures_is_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "alexnet_fast", "bench", "startup", str(tmp_path), "--runs", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "no class folders in" in done.stderr
    assert "Traceback" not in done.stderr
