"""Published layouts, built as their authors give them out, of real photographs of solar cells."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from warm_commands import run_command

KINDS = ("mono", "poly")
WNIDS = {"mono": "n02123045", "poly": "n01443537"}
WORDS = {"n02123045": "tabby, tabby cat", "n01443537": "goldfish, Carassius auratus", "n00001740": "entity"}


@pytest.fixture
def json_of() -> Callable[..., dict[str, Any]]:
    """Runs a command with `--json` in a process of its own."""

    def run(*arguments: object) -> dict[str, Any]:
        done = run_command(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return run


@pytest.fixture
def tiny(cells: dict[str, list[Path]], tmp_path: Path) -> Path:
    """Tiny ImageNet's folders: 12 training and 4 validation images of each of two classes, 1 unlabelled."""
    root = tmp_path / "tiny-imagenet-200"
    lines = []
    for kind, wnid in WNIDS.items():
        images = root / "train" / wnid / "images"
        images.mkdir(parents=True)
        for number, cell in enumerate(cells[kind][:12]):
            shutil.copy(cell, images / f"{wnid}_{number}.png")
        (images.parent / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.png\t0\t0\t9\t9\n")
        (root / "val" / "images").mkdir(parents=True, exist_ok=True)
        for cell in cells[kind][12:16]:
            name = f"val_{len(lines)}.png"
            shutil.copy(cell, root / "val" / "images" / name)
            lines.append(f"{name}\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in WORDS.items()))
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS.values()))
    (root / "test" / "images").mkdir(parents=True)
    shutil.copy(cells["mono"][20], root / "test" / "images" / "test_0.png")
    return root


@pytest.fixture
def caltech(cells: dict[str, list[Path]], tmp_path: Path) -> Path:
    """256_ObjectCategories with three classes, whose numbers are not in the order of their names."""
    root = tmp_path / "256_ObjectCategories"
    for number, (label, kind, some) in enumerate(
        (
            ("poly-cell", "poly", slice(20)),
            ("mono-cell", "mono", slice(20)),
            ("clutter", "mono", slice(20, 40)),
        ),
        1,
    ):
        directory = root / f"{number:03d}.{label}"
        directory.mkdir(parents=True)
        for image, cell in enumerate(cells[kind][some], 1):
            shutil.copy(cell, directory / f"{number:03d}_{image:04d}.png")
    return root


@pytest.fixture
def ilsvrc(cells: dict[str, list[Path]], tmp_path: Path) -> Path:
    """ILSVRC-2012's three tars: of tars of images, of images, and the development kit."""
    import scipy.io

    root, work = tmp_path / "ilsvrc", tmp_path / "work"
    root.mkdir()
    work.mkdir()
    with tarfile.open(root / "ILSVRC2012_img_train.tar", "w") as outer:
        for kind, wnid in WNIDS.items():
            with tarfile.open(work / f"{wnid}.tar", "w") as inner:
                for number, cell in enumerate(cells[kind][:12]):
                    inner.add(cell, f"{wnid}_{number}.png")
            outer.add(work / f"{wnid}.tar", f"{wnid}.tar")
    truth = []
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as val:
        for number in range(8):
            kind = KINDS[number % 2]
            val.add(cells[kind][12 + number], f"ILSVRC2012_val_{number + 1:08d}.png")
            # The kit numbers the classes in an order of its own.
            truth.append({"mono": 1, "poly": 2}[kind])
    devkit = work / "ILSVRC2012_devkit_t12"
    (devkit / "data").mkdir(parents=True)
    rows = [
        (1, WNIDS["mono"], WORDS[WNIDS["mono"]], np.arange(2.0)),
        (2, WNIDS["poly"], WORDS[WNIDS["poly"]], np.arange(0.0)),
        (1001, "n00001740", "entity", np.arange(1.0)),
    ]
    fields = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "children")]
    synsets = np.array(rows, dtype=fields).reshape(-1, 1)
    scipy.io.savemat(devkit / "data" / "meta.mat", {"synsets": synsets}, do_compression=True)
    text = "".join(f"{number}\n" for number in truth)
    (devkit / "data" / "ILSVRC2012_validation_ground_truth.txt").write_text(text)
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as kit:
        kit.add(devkit, "ILSVRC2012_devkit_t12")
    return root
