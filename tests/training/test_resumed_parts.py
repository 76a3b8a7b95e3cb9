"""Everything that learning can be told to do goes on, after a stop in the middle of an epoch, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from alexnet_fast.training.checkpoint.model_io import load_trained
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.metrics_log import read_metrics
from alexnet_fast.training.run import train
from alexnet_fast.training.trainer import Trainer

Make = Callable[..., TrainConfig]


def stopped_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Lets the run be interrupted after a number of steps, as Ctrl-C would."""
    take_step, taken = Trainer._take_step, []

    def counting(*arguments: Any) -> None:
        if len(taken) == steps:
            raise KeyboardInterrupt
        taken.append(None)
        take_step(*arguments)

    monkeypatch.setattr(Trainer, "_take_step", counting)


@pytest.mark.parametrize(
    "options",
    [
        {
            "ema_decay": 0.9,
            "mixup_alpha": 0.4,
            "lr_schedule": "cosine",
            "warmup_epochs": 1.5,
            "nesterov": True,
        },
        pytest.param(
            {
                "optimizer": "adamw",
                "ema_decay": 0.9,
                "label_smoothing": 0.1,
                "lr_schedule": "step",
                "lr_step_epochs": 1,
            },
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"optimizer": "lars", "lr": 1.0, "loss": "hinge", "bias_weight_decay": False, "ema_decay": 0.5},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["mixup", "adamw", "lars"],
)
def test_a_run_stopped_in_an_epoch_ends_in_the_same_weights(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    every = {"checkpoint_steps": 1, "epochs": 2, "precise_bn_batches": 2, **options}
    train(config(run=tmp_path / "whole", **every))
    with monkeypatch.context() as patch:
        stopped_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            train(config(run=tmp_path / "cut", **every))
    train(config(run=tmp_path / "cut", **every), resume=True)
    whole, cut = (load_trained(tmp_path / name).net.state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())
    one, other = (read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "cut"))
    assert [(row.train_loss, row.val_loss, row.lr) for row in one] == [
        (row.train_loss, row.val_loss, row.lr) for row in other
    ]


@pytest.mark.slow
def test_the_average_is_what_is_validated_and_kept(config: Make, tmp_path: Path) -> None:
    """A decay of 0 copies the weights at every update; a long memory keeps others."""
    found = {}
    for name, ema in (("plain", 0.0), ("long", 0.99)):
        train(config(run=tmp_path / name, epochs=1, ema_decay=ema))
        found[name] = load_trained(tmp_path / name).net.state_dict()
    assert not torch.equal(found["plain"]["fc.weight"], found["long"]["fc.weight"])
    rows = {name: read_metrics(tmp_path / name / "metrics.csv")[0] for name in found}
    assert rows["plain"].train_loss == rows["long"].train_loss
    assert rows["plain"].val_loss != rows["long"].val_loss
