"""Training on weights from elsewhere: transfer, feature extraction, and where they resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from train_jobs import same_run, signal_at

from alexnet_fast.data import open_data
from alexnet_fast.errors import UserError
from alexnet_fast.inference.classifier import NetClassifier
from alexnet_fast.inference.evaluate import evaluate
from alexnet_fast.pipelines.factory import make_loader
from alexnet_fast.pipelines.loader import LoaderConfig
from alexnet_fast.pipelines.sampler import EpochSampler
from alexnet_fast.training.checkpoint.format import load_checkpoint
from alexnet_fast.training.checkpoint.model_io import load_trained
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.losses import make_loss
from alexnet_fast.training.metrics_log import read_metrics
from alexnet_fast.training.run import train

Make = Callable[..., TrainConfig]


@pytest.fixture
def source(small: Make) -> Path:
    """A run of one epoch to begin with."""
    train(small("source", epochs=1))
    return small("source").run


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Names of the layers that differ, counters aside."""
    assert before.keys() == after.keys()
    names = {name for name in before if not torch.equal(before[name], after[name])}
    return {name.rpartition(".")[0] for name in names if not name.endswith("num_batches_tracked")}


def test_only_the_last_layer_learns_while_the_rest_is_frozen(small: Make, source: Path) -> None:
    options = {"weights": source, "finetune": True, "freeze_epochs": 2, "ema_decay": 0.0}
    train(small("frozen", epochs=2, **options))
    before, after = (load_trained(path).net.state_dict() for path in (source, small("frozen").run))
    assert changed(before, after) == {"8"}
    rows = read_metrics(small("frozen").run / "metrics.csv")
    assert [row.lr for row in rows] == [0.01, 0.01]


def test_the_frozen_epochs_of_a_transfer_are_those_of_feature_extraction(small: Make, source: Path) -> None:
    """On each image's centre, computed once."""
    train(small("features", weights=source, linear_probe=True, epochs=2))
    train(small("transfer", weights=source, finetune=True, freeze_epochs=2, epochs=3))
    left, right = (
        [(row.train_loss, row.val_loss) for row in read_metrics(small(name).run / "metrics.csv")]
        for name in ("features", "transfer")
    )
    assert left == right[:2]


@pytest.mark.slow
def test_images_that_grow_do_so_once_the_whole_network_learns(config: Make, tmp_path: Path) -> None:
    first = config(run=tmp_path / "first", epochs=1)
    train(first)
    options = {"weights": first.run, "finetune": True, "progressive_resize": "48:56"}
    train(config(epochs=3, **options))
    (vectors,) = (config().run / "features").glob("val-*[0-9a-f].npy")
    assert np.isfinite(np.load(vectors)).all()
    assert len(read_metrics(config().run / "metrics.csv")) == 3


def test_then_all_of_it_learns_at_a_lower_rate(small: Make, source: Path) -> None:
    train(small("run", weights=source, finetune=True, finetune_lr_factor=0.2))
    last = load_checkpoint(small("run").run / "checkpoints" / "last.pt")["weights"]
    assert changed(load_trained(source).net.state_dict(), last) == {"0", "1", "5", "8"}
    rates = [row.lr for row in read_metrics(small("run").run / "metrics.csv")]
    assert rates == pytest.approx([0.01, 0.002, 0.002])


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam", "ema_decay": 0.9, "lr_schedule": "cosine"}])
def test_a_transfer_stopped_in_both_parts_ends_as_one_never_stopped(
    small: Make, source: Path, options: dict[str, Any]
) -> None:
    options = {"weights": source, "finetune": True, **options}
    train(small("whole", **options))
    for number, (epoch, step) in enumerate([(1, 3), (1, 6), (2, 2), (3, 4)]):
        result = train(small("cut", **options), resume=number > 0, on_progress=signal_at(epoch, step))
        assert result["stopped"]
    assert train(small("cut", **options), resume=True)["stopped"] is None
    assert same_run(small("whole").run, small("cut").run)


def test_features_train_the_last_layer_as_a_linear_classifier(small: Make, source: Path) -> None:
    """What is saved is the whole network: its accuracy is that of the training's own validation."""
    result = train(small("run", weights=source, linear_probe=True, epochs=5))
    run = small("run").run
    trained = load_trained(run)
    assert changed(load_trained(source).net.state_dict(), trained.net.state_dict()) == {"8"}
    assert sorted(path.suffixes[-1] for path in (run / "features").iterdir()) == [".npy"] * 4
    val = open_data(small("run").data).val
    loader = make_loader(
        val,
        trained.spec,
        "square",
        EpochSampler(num_images=len(val), batch_size=8, shuffle=False),
        LoaderConfig(),
    )
    found = evaluate(NetClassifier(trained, device="cpu", amp="off"), loader, ["single"])
    assert found.by_crops["single"].top1 == pytest.approx(result["best"]["top1"])


def test_features_are_computed_once_and_a_resumed_run_is_the_same(small: Make, source: Path) -> None:
    options = {"weights": source, "linear_probe": True}
    train(small("whole", **options))
    train(small("cut", **options), on_progress=signal_at(2, 3))
    times = {path: path.stat().st_mtime_ns for path in (small("cut").run / "features").iterdir()}
    train(small("cut", **options), resume=True)
    assert {path: path.stat().st_mtime_ns for path in (small("cut").run / "features").iterdir()} == times
    assert same_run(small("whole").run, small("cut").run)


def test_weights_of_the_same_network_bring_their_images_along(small: Make) -> None:
    """Mean, deviation and sizes of the first training; other classes begin a new last layer."""
    first = small("first", resize=40, crop=24, mean="data", epochs=1)
    train(first)
    train(small("second", weights=first.run, epochs=1, resize=None))
    one, two = (load_trained(small(name).run).spec for name in ("first", "second"))
    assert (one.mean, one.std, one.resize, one.crop) == (two.mean, two.std, two.resize, two.crop)
    assert one.mean != load_trained(first.run).net.input.mean


def test_a_run_ends_with_its_steps(small: Make) -> None:
    result = train(small("run", max_steps=9))
    assert (result["steps"], result["epochs"], result["stopped"]) == (9, 2, None)
    assert len(read_metrics(small("run").run / "metrics.csv")) == 2
    assert (small("run").run / "model.safetensors").exists()
    again = train(small("run", max_steps=9), resume=True)
    assert again["steps"] == 9
    train(small("cut", max_steps=9), on_progress=signal_at(2, 2))
    train(small("cut", max_steps=9), resume=True)
    assert same_run(small("run").run, small("cut").run)


def test_label_smoothing_spreads_a_part_of_each_label_over_all_classes(small: Make) -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    found = make_loss(small("x", label_smoothing=0.1))(logits, labels)
    target = functional.one_hot(labels, 4) * 0.9 + 0.1 / 4
    assert found.item() == pytest.approx(-(target * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-5)
    more = make_loss(small("x", label_smoothing=0.3))(logits, labels)
    assert more.item() == pytest.approx(
        functional.cross_entropy(logits, labels, label_smoothing=0.3).item(), rel=1e-6
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"finetune": True}, "--finetune needs initial weights; give --weights"),
        ({"linear_probe": True}, "--linear-probe needs initial weights"),
        ({"finetune": True, "linear_probe": True, "weights": Path("x")}, "exclude each other"),
        ({"linear_probe": True, "weights": Path("x"), "processes": 2}, "in one process"),
        (
            {"linear_probe": True, "weights": Path("x"), "progressive_resize": "16:24"},
            "leave out --progressive-resize",
        ),
        (
            {"finetune_lr_factor": 0.0},
            "finetune_lr_factor=0.0 does not fit; give a number above 0 and",
        ),
        ({"freeze_epochs": -1}, "freeze_epochs=-1 does not fit"),
        ({"max_steps": 0}, "max_steps=0 does not fit"),
        ({"init": "xavier"}, "small_net:Net has no --init; leave"),
        ({"weights": Path("nowhere.pth")}, "no such run or file: nowhere.pth"),
    ],
)
def test_mistakes_are_named_before_anything_is_made(
    small: Make, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        train(small("run", **options))
    assert caught.value.exit_code == 2
    assert not small("run").run.exists()
