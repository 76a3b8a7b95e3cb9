"""From the command to the first batch of many images; links to a few, made by `bench.synthetic_dataset`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from alexnet_fast.bench.startup import StartupBench, measure_startup
from alexnet_fast.data import open_data
from alexnet_fast.errors import UserError
from benchmarks.synthetic_dataset import lay_out_dirs, lay_out_shards

IMAGES, CLASSES = 12_000, 20


@pytest.fixture(scope="module")
def laid_out(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12,000 images as class folders and as shards."""
    root = tmp_path_factory.mktemp("scale")
    files = []
    for number, image in enumerate(photographs):
        files.append(root / f"{number}.jpg")
        image.resize((384, 256)).save(files[-1])
    lay_out_dirs(files, root / "folders", IMAGES, CLASSES)
    lay_out_shards(files, root / "shards", IMAGES, CLASSES)
    return root


@pytest.mark.parametrize("form", ["folders", "shards"])
def test_every_link_is_an_image(laid_out: Path, form: str) -> None:
    data = open_data(laid_out / form)
    assert len(data.train) + len(data.val) == IMAGES
    assert len(data.classes) == CLASSES
    assert data.train.counts()[0] + data.val.counts()[0] == IMAGES // CLASSES


@pytest.mark.slow
def test_the_first_batch_is_measured_with_and_without_a_cached_list(laid_out: Path) -> None:
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
    assert [other["name"] for other in result["compared"]] == ["without a cached list"]
    assert result["name"] == "with a cached list"
    for other in (result, *result["compared"]):
        assert 0 < sum(other["parts"].values()) < other["seconds"]
        assert other["peak_mib"] > 100
    assert result["low"] <= result["seconds"] <= result["high"]
    assert {"hardware", "versions", "runs"} <= set(result)


@pytest.mark.slow
def test_a_folder_without_images_is_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "alexnet_fast", "bench", "startup", str(tmp_path), "--runs", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "no class folders in" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_peak_is_that_of_the_process_alone(laid_out: Path) -> None:
    """Linux counts into ru_maxrss what the process took that started it."""
    large = b"x" * (1 << 30)
    words = [sys.executable, "-m", "alexnet_fast.bench.startup", str(laid_out / "folders"), "1", "8"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["peak_mib"] < len(large) >> 20


@pytest.mark.slow
def test_data_that_gives_no_batch_ends_in_its_own_words(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "one.jpg").write_bytes(b"no image")
    words = [sys.executable, "-m", "alexnet_fast", "bench", "startup", str(tmp_path), "--runs", "1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"alexnet-fast: no first batch of {tmp_path}: cannot decode {tmp_path}/")
    assert "Error:" not in line


def test_a_process_that_dies_without_a_word_is_said_so(tmp_path: Path) -> None:
    """As the kernel ends one that takes all memory."""
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nkill -9 $$\n")
    silent.chmod(0o755)
    bench = StartupBench(data=tmp_path, workers=1, batch_size=8, runs=1)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="it ended with exit code -9"):
        patch.setattr(sys, "executable", str(silent))
        measure_startup(bench)
