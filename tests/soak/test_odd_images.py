"""Pillow's own test images, and 240 made here: truncated, malicious, of every kind.

None may take a process down, and each is used or named. Pillow's are fetched with pip from its source
distribution, and are not part of this repository.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL
import pytest

from alexnet_fast.data.image_list import IMAGE_EXTENSIONS
from bad_images import KINDS, bad_image
from running_server import running
from small_model import make_model

pytestmark = pytest.mark.soak


SEEDS = 10
Evidence = Callable[..., None]


def write_pillows(directory: Path) -> None:
    """Fetches Pillow's, each with an ending that training lists."""
    words = ["download", "--no-binary", ":all:", "--no-deps", "--quiet", f"pillow=={PIL.__version__}"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words],
        cwd=directory.parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        pytest.skip(f"pip cannot fetch Pillow's source: {done.stderr.strip().splitlines()[-1]}")
    (archive,) = directory.parent.parent.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        for member in file:
            _, _, name = member.name.partition("/Tests/images/")
            content = file.extractfile(member) if name and member.isfile() else None
            if content is not None:
                flat = name.replace("/", "-")
                suffix = "" if Path(flat).suffix.lower() in IMAGE_EXTENSIONS else ".jpg"
                (directory / f"{flat.lstrip('.')}{suffix}").write_bytes(content.read())


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in two class folders."""
    root = tmp_path_factory.mktemp("odd") / "data"
    for name in ("pillow", "made"):
        (root / name).mkdir(parents=True)
    write_pillows(root / "pillow")
    for number, kind in enumerate(KINDS):
        for seed in range(SEEDS):
            (root / "made" / f"{number:02d}-{seed}.jpg").write_bytes(bad_image(kind, seed))
    return root


def images_of(odd: Path) -> list[Path]:
    return sorted(odd.glob("*/*"))


def answered(words: list[object], codes: tuple[int, ...] = (0,)) -> tuple[dict[str, Any], str]:
    """Runs a command; returns what it prints for programs, and what it says."""
    command = [sys.executable, "-m", "alexnet_fast", *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode in codes, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_there_are_1300(odd: Path) -> None:
    assert len(list((odd / "pillow").iterdir())) > 1000
    assert len(list((odd / "made").iterdir())) == 240


def test_scan_names_each_that_is_bad(odd: Path, evidence: Evidence) -> None:
    report, _ = answered(["scan", odd, "--workers", "2"])
    assert report["images"] == len(images_of(odd))
    assert all(entry["reason"] for entry in report["bad"])
    named = len(report["bad"])
    evidence("odd images: scan", n=report["images"], in_order=report["images"] - named, named=named)


@pytest.mark.parametrize("kind", ["dali", "torch"])
def test_a_loader_uses_or_names_each(odd: Path, kind: str, evidence: Evidence) -> None:
    words = [sys.executable, str(Path(__file__).with_name("epoch_script.py")), str(odd), kind]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    everything = set(map(str, images_of(odd)))
    assert len(found["used"]) == len(set(found["used"]))
    assert set(found["used"]) | set(found["bad"]) == everything
    assert not set(found["used"]) & set(found["bad"])
    assert all(found["bad"].values())
    evidence(
        f"odd images: loader {kind}", n=len(everything), used=len(found["used"]), named=len(found["bad"])
    )


@pytest.mark.parametrize("dali", ["--dali", "--no-dali"])
def test_train_uses_or_names_each(odd: Path, dali: str, tmp_path: Path, evidence: Evidence) -> None:
    """Each that is left out stands in the log with its reason, once."""
    words = ["--epochs", 1, "--batch-size", 16, "--model", "linear", "--on-bad-image", "skip", dali]
    result, _ = answered(["train", odd, "--run", tmp_path / "run", *words])
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    named = [line.partition("left out ")[2] for line in log.splitlines() if "left out " in line]
    assert len(named) == len(set(named)) == result["bad_images"]
    assert all(": " in line for line in named)
    n = len(images_of(odd))
    evidence(f"odd images: train {dali}", n=n, used=n - len(named), named=len(named))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model.onnx")


def test_predict_answers_or_names_each(odd: Path, model: Path, evidence: Evidence) -> None:
    files = images_of(odd)
    result, _ = answered(["predict", model, *files], codes=(1,))
    assert [one["file"] for one in result["predictions"]] == list(map(str, files))
    assert all(bool(one["classes"]) != bool(one["error"]) for one in result["predictions"])
    named = sum(bool(one["error"]) for one in result["predictions"])
    evidence("odd images: predict", n=len(files), used=len(files) - named, named=named)


def test_serve_answers_or_refuses_each(odd: Path, model: Path, evidence: Evidence) -> None:
    found: Counter[int] = Counter()
    with running(model, "--name", "small", "--threads", 1) as server:
        for file in images_of(odd):
            status, answer = server.json("POST", "/predict", file.read_bytes())
            assert (status == 200) == ("error" not in answer)
            assert status < 500, (file, answer)
            found[status] += 1
        assert server.json("GET", "/v2/health/live") == (200, {"live": True})
        assert [event for event in server.events if event.get("level") == "error"] == []
    evidence("odd images: serve", n=found.total(), used=found[200], named=found.total() - found[200])
