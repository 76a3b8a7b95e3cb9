"""The documented examples run: docs/examples, on a few real images."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
BASELINES = ROOT / "alexnet_fast" / "bench" / "baselines"
PYTHON = BASELINES / ".venv" / "bin" / "python"

others = pytest.mark.skipif(not PYTHON.exists(), reason="needs Lightning and timm: make baselines")


@pytest.fixture
def data(photographs: list[Image.Image], tmp_path: Path) -> Path:
    """Cuts of two photographs, one class each: 48 to train on and 8 to validate."""
    for name, photograph in zip(("china", "flower"), photographs, strict=True):
        for part, numbers in (("train", range(24)), ("val", range(24, 28))):
            (tmp_path / part / name).mkdir(parents=True)
            for number in numbers:
                box = (8 * number, 5 * number, 8 * number + 300, 5 * number + 240)
                photograph.crop(box).save(tmp_path / part / name / f"{number}.jpg")
    return tmp_path


def example(name: str) -> ModuleType:
    """Imports an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def elsewhere(code: str) -> Any:
    """Runs code in the baselines' environment; returns its last line, parsed as JSON."""
    path = os.pathsep.join(map(str, (EXAMPLES, BASELINES)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    words = [str(PYTHON), "-c", f"import json, torchvision_beside_cpu_torch\n{code}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=400)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_examples_are_short() -> None:
    files = list(EXAMPLES.glob("*.py"))
    assert len(files) > 3
    for file in files:
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 60, file.name


def test_a_plain_loop_learns_and_goes_on_after_a_stop_to_the_same_losses(data: Path, tmp_path: Path) -> None:
    loop = example("plain_loop")
    train = str(data / "train")
    whole = loop.main(train, str(tmp_path / "whole.pt"), epochs=2)
    assert len(whole) == 12
    assert sum(whole[6:]) < sum(whole[:6])
    first = loop.main(train, str(tmp_path / "cut.pt"), epochs=2, stop_at=4)
    assert first + loop.main(train, str(tmp_path / "cut.pt"), epochs=2) == whole


@others
@pytest.mark.slow
def test_timms_folders_and_arguments_train(data: Path) -> None:
    means = elsewhere(f"import timm_layout\nprint(json.dumps(timm_layout.main({str(data)!r})))")
    assert len(means) == 3
    assert means[2] < means[0]


@others
@pytest.mark.slow
def test_lightning_trains_and_goes_on_in_the_middle_of_an_epoch(data: Path, tmp_path: Path) -> None:
    """Lightning saves the loader's state: the losses are those of an uninterrupted run."""
    whole, cut = elsewhere(
        f"""
import lightning, lightning_loop
from lightning.pytorch.callbacks import ModelCheckpoint
quiet = dict(max_epochs=2, enable_progress_bar=False, enable_model_summary=False)
data, run = {str(data)!r}, {str(tmp_path)!r}
lightning.seed_everything(0)
whole = lightning_loop.main(data, run + "/whole", **quiet).losses
lightning.seed_everything(0)
save = ModelCheckpoint(run, "at-{{step}}", every_n_train_steps=4, save_top_k=-1)
first = lightning_loop.main(data, run + "/cut", **(quiet | dict(max_steps=4, callbacks=[save]))).losses
rest = lightning_loop.main(data, run + "/rest", run + "/at-step=4.ckpt", **quiet).losses
print(json.dumps([whole, first + rest]))
"""
    )
    assert len(whole) == 12
    assert sum(whole[6:]) < sum(whole[:6])
    assert cut == whole
