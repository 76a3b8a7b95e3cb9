"""`ImageClassifier` and `AlexNet(data_path, label_path, label_encoding)`: fit and predict from Python."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from alexnet_fast import AlexNet, ImageClassifier
from alexnet_fast.errors import UserError
from alexnet_fast.training.console import NotebookLine, Progress
from alexnet_fast.training.metrics import Metrics
from warm_commands import run_command

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "keras_like.py"
SMALL: dict[str, Any] = {
    "model": "convnet-64",
    "resize": 64,
    "crop": 56,
    "batch_size": 8,
    "precise_bn_batches": 1,
    "lr": 0.001,
    "workers": 1,
}


def labels_of(loose: Path) -> tuple[str, str, str]:
    """Returns the three paths."""
    return str(loose), str(loose / "labels.json"), str(loose / "indices.json")


def children() -> set[str]:
    """Returns the command lines of the processes below this one, less the two that serve multiprocessing."""
    found, pids = set(), [os.getpid()]
    while pids:
        for task in Path(f"/proc/{pids.pop()}/task").glob("*/children"):
            for pid in task.read_text().split():
                pids.append(int(pid))
                found.add(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
    return {line for line in found if "forkserver" not in line and "resource_tracker" not in line}


def test_the_constructor_of_the_replaced_system_makes_an_image_classifier() -> None:
    assert issubclass(AlexNet, ImageClassifier)
    assert AlexNet.fit is ImageClassifier.fit
    assert AlexNet.predict_n is ImageClassifier.predict_n


@pytest.mark.slow
def test_the_documented_example(loose: Path, tmp_path: Path, capsys) -> None:
    spec = importlib.util.spec_from_file_location("keras_like_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    run, before = tmp_path / "run", children()
    named = example.main(*labels_of(loose), str(loose / "test" / "poly_16.png"), run=run, **SMALL)
    assert sorted(named) == ["mono", "poly"]
    assert children() == before
    said = capsys.readouterr().out
    assert "classes poly mono - mean RGB" in said
    with Image.open(run / "curves.png") as image:
        assert min(image.size) > 300


@pytest.mark.slow
def test_fit_goes_on_and_predicts_what_the_command_predicts(loose: Path, tmp_path: Path) -> None:
    model = AlexNet(*labels_of(loose), run=tmp_path / "run", **SMALL)
    assert model.classes == ("poly", "mono")
    first, second = model.fit(epochs=2), model.fit(epochs=1)
    assert (first.epoch, second.epoch) == ([0, 1], [2])
    assert set(first.history) == {
        "loss", "accuracy", "val_loss", "val_accuracy", "val_top_5_accuracy", "learning_rate",
    }  # fmt: skip
    assert all(len(values) == 2 for values in first.history.values())
    assert min(first.history["loss"] + second.history["loss"]) > 0
    image = loose / "test" / "mono_16.png"
    answer = model.predict(image)
    assert answer.shape == (2,)
    assert answer.sum() == pytest.approx(1, abs=1e-6)
    for more, own in (
        ([], answer),
        (["--jitter"], model.predict(image, jitter=True)),
        (["--single-crop"], model.predict(image, crops="single")),
    ):
        done = run_command("predict", tmp_path / "run", image, "--json", *more)
        assert done.returncode == 0, done.stderr
        guesses = json.loads(done.stdout)["predictions"][0]["classes"]
        assert {guess["index"]: guess["probability"] for guess in guesses} == pytest.approx(
            dict(enumerate(own.tolist())), abs=1e-6
        )
        assert [guess["label"] for guess in guesses] == [
            model.classes[index] for index in np.argsort(-own, kind="stable")
        ]
    assert not np.array_equal(model.predict(image, jitter=True), answer)
    assert first.plot()._repr_png_().startswith(b"\x89PNG")
    assert model.predict_n(image, n=1) == [model.classes[int(answer.argmax())]]
    with pytest.raises(UserError, match="holds a run already; give --resume"):
        AlexNet(*labels_of(loose), run=tmp_path / "run", **SMALL)
    again = AlexNet(*labels_of(loose), run=tmp_path / "run", resume=True, **SMALL)
    np.testing.assert_array_equal(again.predict(image), answer)


@pytest.mark.slow
@pytest.mark.parametrize("loader", ["dali", "torch"])
def test_either_loader_trains_and_leaves_no_process_behind(loose: Path, tmp_path: Path, loader: str) -> None:
    before = children()
    model = AlexNet(*labels_of(loose), run=tmp_path / "run", loader=loader, **SMALL)
    history = model.fit(epochs=2).history
    assert history["loss"][1] < history["loss"][0]
    log = (tmp_path / "run" / "log.txt").read_text()
    assert ("DALI loader" if loader == "dali" else "Pillow loader") in log
    assert children() == before


def test_colours_are_those_of_the_training_images(loose: Path, tmp_path: Path) -> None:
    from alexnet_fast.pipelines.cpu.pillow import centre_square, decode
    from alexnet_fast.pipelines.spec import AugmentSpec

    spec = AugmentSpec(resize=64, crop=56)
    squares = [centre_square(decode(file), spec).reshape(-1, 3) for file in (loose / "train").iterdir()]
    pixels = np.concatenate(squares).astype(np.float64)
    model = AlexNet(*labels_of(loose), run=tmp_path / "run", loader="torch", **SMALL)
    assert model.mean == pytest.approx(pixels.mean(0))
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(pixels.T, bias=True)).clip(0))[::-1]
    assert model.pca.stdev == pytest.approx(spread, abs=1e-3)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_train_together(loose: Path, tmp_path: Path) -> None:
    model = AlexNet(*labels_of(loose), run=tmp_path / "run", processes=2, device="cpu", **SMALL)
    assert len(model.fit(epochs=1).history["loss"]) == 1
    assert model.predict(loose / "test" / "mono_16.png").shape == (2,)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"loader": "tf"}, "loader='tf' is no loader; give \"dali\" or"),
        ({"batchsize": 4}, "AlexNet has no option batchsize; did you mean batch_size"),
        ({"epochs": 4}, "AlexNet has no option epochs"),
        ({"device": "tpu"}, "--device tpu is not a device"),
        ({"label_path": "none.json"}, "cannot read none.json: no such file"),
        ({"label_encoding": None}, "--labels and --label-encoding belong together"),
        ({"data_path": "nowhere"}, "no such folder: nowhere"),
        ({"data_path": "http://example.org/a.zip"}, "http://example.org/a.zip is not https"),
        ({"model": "alexnett"}, "alexnett"),
        ({"crop": 99}, "--crop 99 does not fit"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    loose: Path, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    data, labels, indices = labels_of(loose)
    paths = {"data_path": data, "label_path": labels, "label_encoding": indices}
    with pytest.raises(UserError, match=said):
        AlexNet(**{**paths, "run": tmp_path / "run", "loader": "torch", **SMALL, **given})
    assert not (tmp_path / "run").exists()


def test_asking_too_early_or_for_nothing(loose: Path, tmp_path: Path) -> None:
    model = AlexNet(*labels_of(loose), run=tmp_path / "run", loader="torch", **SMALL)
    with pytest.raises(UserError, match="has not been trained yet; call fit"):
        model.predict(loose / "test" / "mono_16.png")
    with pytest.raises(UserError, match="^epochs=0 does not fit; give a whole number of at least 1"):
        model.fit(epochs=0)
    with pytest.raises(UserError, match="^n=0 does not fit; give a whole number of at least 1"):
        model.predict_n(loose / "test" / "mono_16.png", n=0)


def test_a_notebook_sees_one_line_that_is_written_over() -> None:
    out = io.StringIO()
    line = NotebookLine(3, out)
    score, after = Metrics(loss=0.5, top1=0.25, top5=1.0, images=8), {"validating": 1}
    for step in (1, 2, 3):
        last = Progress(
            epoch=1,
            step=step,
            steps=3,
            after=after,
            train=score,
            lr=0.01,
            images_per_second=9.0,
            data_wait=0.0,
        )
        line(last)
    line(dataclasses.replace(last, phase="validating", done=1))
    shown = [text.rstrip() for text in out.getvalue().split("\r")]
    assert shown[1].startswith("epoch 1/3  step 1/3  loss 0.500  top-1 0.250")
    assert shown[2].startswith("epoch 1/3  step 3/3")
    assert shown[-1] == ""
