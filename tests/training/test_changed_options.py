"""`--resume` takes other values of the options that may change, and keeps a record of it."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from train_jobs import completed_many, finish_many, rows, same_run, signal_at, start_many

from alexnet_fast.cli.train_options import changeable
from alexnet_fast.data import open_data
from alexnet_fast.errors import UserError
from alexnet_fast.training.checkpoint.compatibility import (
    Change,
    changeable_options,
    check_resumable,
    make_fingerprint,
)
from alexnet_fast.training.checkpoint.format import load_checkpoint
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.lr_schedule import ReduceOnPlateau
from alexnet_fast.training.optim import OptimizerState, make_optimizer
from alexnet_fast.training.option import is_free, may_change
from alexnet_fast.training.precision import choose_precision
from alexnet_fast.training.run import train
from alexnet_fast.utils.toml import read_toml

Make = Callable[..., TrainConfig]


@pytest.fixture(scope="module")
def stopped(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs of six steps that was stopped after the eighth step."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    train(TrainConfig(data=two_classes, run=run, **SMALL), on_progress=signal_at(2, 2))
    return run


SMALL: dict[str, Any] = {
    "model": "small_net:Net",
    "batch_size": 8,
    "log_interval": 1,
    "workers": 1,
    "checkpoint_minutes": 0,
    "epochs": 3,
    "seed": 7,
}


def go_on(
    stopped: Path, data: Path, to: Path, on_progress: Any = lambda _: None, **options: Any
) -> dict[str, Any]:
    """Resumes a copy of the stopped run."""
    if not to.exists():
        shutil.copytree(stopped, to)
    config = TrainConfig(data=data, run=to, **{**SMALL, **options})
    return train(config, resume=True, on_progress=on_progress)


def test_a_change_is_recorded_and_holds_whatever_stops_follow(
    stopped: Path, two_classes: Path, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    new = {"lr": 0.002, "weight_decay": 0.01}
    go_on(stopped, two_classes, whole, **new)
    # Stopped before anything was saved with the new values, then again after a step with them.
    go_on(stopped, two_classes, cut, signal_at(2, 3), **new)
    go_on(stopped, two_classes, cut, signal_at(3, 1), **new)
    go_on(stopped, two_classes, cut, **new)
    assert same_run(whole, cut)
    assert [row["lr"] for row in rows(whole)] == ["0.01", "0.002", "0.002"]
    lines = [
        f"changed from epoch 2, step 3 on: --{change}"
        for change in ("lr 0.01 -> 0.002", "weight-decay 0.0005 -> 0.01")
    ]
    text = (cut / "config.toml").read_text(encoding="utf-8")
    for line in lines:
        assert (cut / "log.txt").read_text(encoding="utf-8").count(line) == 1
        assert text.count(f"# {line}\n") == 1
    assert read_toml(cut / "config.toml")["lr"] == 0.002
    last = load_checkpoint(cut / "checkpoints" / "last.pt")["training"]
    assert sorted(last["changes"]) == sorted(lines)
    assert last["fingerprint"]["--lr"] == 0.002
    assert {group["weight_decay"] for group in last["replicated"]["optimizer"]["param_groups"]} == {0.01}


@pytest.mark.parametrize(
    "new",
    [
        {"epochs": 4, "lr_schedule": "cosine", "warmup_epochs": 1.5, "mixup_alpha": 0.3, "nesterov": True},
        {"momentum": 0.0, "loss": "hinge", "precise_bn_batches": 1, "dali": False, "amp": "bf16"},
        {
            "lr_schedule": "step",
            "lr_step_epochs": 1,
            "lr_decay_factor": 0.5,
            "label_smoothing": 0.1,
            "max_steps": 10,
        },
        {
            "lr_patience": 1,
            "max_lr_drops": 1,
            "label_smoothing": 0.2,
            "hw_decoder_load": 0.5,
            "momentum": 0.5,
        },
    ],
    ids=str,
)
def test_whatever_may_change_can(
    stopped: Path, two_classes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, new: dict[str, Any]
) -> None:
    result = go_on(stopped, two_classes, tmp_path / "run", **new)
    assert (result["resumed_from"], result["stopped"]) == (1, None)
    for name, value in new.items():
        shown = f"{value:g}" if isinstance(value, float) else value
        assert re.search(
            rf"changed from epoch 2, step 3 on: --{name.replace('_', '-')} .* -> {shown}", caplog.text
        )


def test_momentum_may_come_late_and_go(two_classes: Path, tmp_path: Path) -> None:
    """torch's fused SGD reads a momentum that is not there from memory that nobody wrote."""
    net = torch.nn.Linear(4, 2)
    config = TrainConfig(data=two_classes, run=tmp_path, momentum=0.0)
    plain = OptimizerState(make_optimizer(config, net))
    optimizer = make_optimizer(dataclasses.replace(config, momentum=0.8, nesterov=True), net)
    OptimizerState(optimizer).load_state_dict(plain.state_dict())
    assert {(group["momentum"], group["nesterov"]) for group in optimizer.param_groups} == {(0.8, True)}
    assert all(not optimizer.state[p]["momentum_buffer"].any() for p in net.parameters())


FIXED = [
    field
    for field in dataclasses.fields(TrainConfig)
    if not is_free(field) and not may_change(field) and isinstance(field.default, bool | int | float | str)
]
OTHER = {"optimizer": "adam", "pca_jitter": "off", "mean": "data", "model": "alexnet-bn"}


@pytest.mark.parametrize("field", FIXED, ids=lambda field: field.name)
def test_what_must_stay_is_refused_by_name_with_the_reason(config: Make, field: Any) -> None:
    value = OTHER.get(field.name, not field.default if isinstance(field.default, bool) else 0.5)
    option = "--" + field.name.replace("_", "-")
    before = getattr(config(), field.name)
    with pytest.raises(
        UserError, match=f"has {option} .*, not {value}; --resume cannot change it: [a-z]+ .*;"
    ):
        check_resumable(config(), open_data(config().data), {option: before}, {option: value})


def test_a_run_of_an_earlier_version_is_no_other_one(config: Make) -> None:
    """Its checkpoint lacks what was not compared then."""
    splits, precision = open_data(config().data), choose_precision("off", torch.device("cpu"))
    now = make_fingerprint(config(), splits, precision)
    before = {name: value for name, value in now.items() if name != "--epochs"}
    assert check_resumable(config(epochs=9), splits, before, {**now, "--epochs": 9}) == ()
    assert check_resumable(config(), splits, {**now, "--lr": 0.5}, now) == (
        Change(name="lr", before=0.5, after=0.01),
    )


def test_a_finished_plateau_learns_on_with_a_new_rate_or_more_falls() -> None:
    def over(**options: Any) -> ReduceOnPlateau:
        plateau = ReduceOnPlateau(**{"lr": 0.01, "patience": 2, "max_reductions": 1, **options})
        plateau.load_state_dict(
            {
                "lr": 0.001,
                "reductions": 1,
                "best_error": 0.2,
                "bad_epochs": 2,
                "finished": True,
            }
        )
        return plateau

    same, rate, falls, patience = over(), over(lr=0.005), over(max_reductions=3), over(patience=5)
    same.change({})
    rate.change({"lr": 0.01})
    falls.change({"max_lr_drops": 1})
    patience.change({"lr_patience": 2})
    assert (same.finished, same.lr) == (True, 0.001)
    assert (rate.finished, rate.lr, rate.bad_epochs) == (False, 0.005, 0)
    assert (falls.finished, falls.lr, falls.reductions) == (False, 0.001, 1)
    assert (patience.finished, patience.patience) == (False, 5)


@pytest.mark.parametrize("steps", [0, 1], ids=["nothing saved yet", "every step saved"])
def test_the_advice_after_a_loss_that_is_no_number_works(small: Make, steps: int) -> None:
    from click.testing import CliRunner

    from alexnet_fast.cli.main import commands

    options = small("a run", lr=1e30, checkpoint_steps=steps)
    with pytest.raises(UserError) as told:
        train(options)
    command = re.search(r"alexnet-fast (train --run .* --resume --lr [\d.e+]+);", told.value.hint)
    assert command is not None, told.value
    # A hundredth and less of what fails at once takes one or two rounds more of the same advice.
    arguments = [*shlex.split(command[1])[:-1], "0.001"]
    done = CliRunner().invoke(commands, arguments)
    assert done.exit_code == 0, done.output
    assert read_toml(options.run / "config.toml")["lr"] == 0.001


def test_help_and_documentation_list_what_may_change() -> None:
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    listed = page.partition("other values of these options: ")[2].partition(".\n")[0]
    found = [name.strip("`\n ") for name in listed.replace("\n", " ").split(",")]
    assert found == sorted("--" + name.replace("_", "-") for name in changeable_options())
    assert changeable().split(", ") == found


@pytest.mark.slow
def test_a_change_holds_in_all_processes_and_after_further_stops(two_classes: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    completed_many(two_classes, whole, "--epochs", "1")
    shutil.copytree(whole, cut)
    new = ("--resume", "--lr", "0.001", "--momentum", "0.5", "--epochs")
    completed_many(two_classes, whole, *new, "3")
    completed_many(two_classes, cut, *new, "2")
    # What the run has recorded holds without being given again.
    done = finish_many(start_many(two_classes, cut, "--resume", "--epochs", "3"))
    assert done[0] == 0, done[2]
    left, right = (load_checkpoint(run / "checkpoints" / "last.pt") for run in (whole, cut))
    assert left["training"]["replicated"]["position"]["epoch"] == 3
    assert all(torch.equal(tensor, right["weights"][name]) for name, tensor in left["weights"].items())
    assert read_toml(cut / "config.toml")["lr"] == 0.001
