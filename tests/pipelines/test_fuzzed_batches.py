"""Mutated images in large batches: no decoder dies, none hangs, and each file is used or named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alexnet_fast.pipelines import AugmentSpec
from alexnet_fast.pipelines.dali.graph import build_graph
from fuzzed_images import seeds

FINDINGS = Path(__file__).parents[2] / "runs" / "soak" / "fuzzed-images"


def fuzzed(directory: Path, seed: int, rounds: int, batches: int) -> dict[str, Any]:
    """Runs rounds in a process; keeps the files at which it dies or hangs."""
    here = Path(__file__)
    command = [sys.executable, str(here.with_name("fuzzed_batches.py")), str(directory)]
    environment = {**os.environ, "PYTHONPATH": str(here.parents[1])}
    done = subprocess.run(
        [*command, *map(str, (seed, rounds, batches))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,
    )
    if done.returncode:
        for left in directory.iterdir():
            shutil.copytree(left, FINDINGS / left.name, dirs_exist_ok=True)
        pytest.fail(f"exit code {done.returncode}, files in {FINDINGS}: {done.stderr[-2000:]}")
    counts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return counts


def test_a_few_hundred_mutated_images(tmp_path: Path) -> None:
    counts = fuzzed(tmp_path / "files", seed=1, rounds=2, batches=2)
    assert counts["files"] == 512
    assert min(counts["used"], counts["named"]) > 50


@pytest.mark.soak
def test_twenty_thousand_mutated_images(tmp_path: Path, evidence: Callable[..., None]) -> None:
    counts = fuzzed(tmp_path / "files", seed=1000, rounds=20, batches=8)
    assert counts["files"] >= 20_000
    evidence("mutated images in batches of 128", n=counts["files"], died=0, **counts)


def test_the_whole_files_are_of_six_formats() -> None:
    assert sorted(seeds()) == ["bmp", "jpg", "png", "ppm", "tif", "webp"]
    assert sum(map(len, seeds().values())) > 50


@pytest.mark.parametrize("view", ["train", "eval", "square"])
def test_the_graph_that_a_gpu_would_run_can_be_defined(view: Any) -> None:
    """The GPU graph gets the same files; without a GPU it cannot run."""
    graph = build_graph(AugmentSpec(resize=32, crop=24), view, device="gpu", batch_size=128, threads=2)
    assert graph.max_batch_size == 128
