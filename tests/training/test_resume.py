"""A run that is stopped anywhere goes on as if it had not been: the same weights file, the same metrics."""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from train_jobs import same_run, signal_at

from alexnet_fast.errors import UserError
from alexnet_fast.training import metrics_log as history
from alexnet_fast.training.checkpoint.format import load_checkpoint
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.run import train

Make = Callable[..., TrainConfig]


def numbered(run: Path) -> list[str]:
    """Returns the names of a run's checkpoints."""
    return sorted(path.name for path in (run / "checkpoints").glob("epoch-*.pt"))


def test_a_run_stopped_three_times_ends_as_one_never_stopped(small: Make) -> None:
    """Amid an epoch, between the last step and validation, and at the first step."""
    options = {"ema_decay": 0.9, "mixup_alpha": 0.2}
    train(small("whole", **options))
    cut = small("cut", **options)
    stops = [(1, 4, signal.SIGTERM), (2, 6, signal.SIGUSR1), (3, 1, signal.SIGTERM)]
    for number, (epoch, step, which) in enumerate(stops):
        result = train(cut, resume=number > 0, on_progress=signal_at(epoch, step, which))
        assert result["stopped"] == which.name
        assert (result["epochs"], result["steps"]) == (epoch - 1, (epoch - 1) * 6 + step)
    result = train(cut, resume=True)
    assert (result["stopped"], result["resumed_from"], result["epochs"]) == (None, 2, 3)
    assert same_run(small("whole").run, cut.run)


def test_the_plain_loader_and_a_schedule_by_step_go_on_too(small: Make) -> None:
    options = {
        "dali": False,
        "optimizer": "adam",
        "grad_accum_steps": 2,
        "lr_schedule": "cosine",
        "epochs": 1,
        "warmup_epochs": 0.5,
        "precise_bn_batches": 0,
    }
    train(small("whole", **options))
    train(small("cut", **options), on_progress=signal_at(1, 4))
    train(small("cut", **options), resume=True)
    assert same_run(small("whole").run, small("cut").run)


def test_how_often_is_saved_does_not_change_the_run(small: Make) -> None:
    train(small("never"))
    train(small("always", checkpoint_steps=1))
    train(small("by-time", checkpoint_minutes=1e-6))
    for name in ("always", "by-time"):
        assert same_run(small("never").run, small(name).run)


def test_what_was_measured_of_an_epoch_before_the_stop_is_in_its_row(small: Make) -> None:
    train(small("whole", epochs=1))
    train(small("cut", epochs=1), on_progress=signal_at(1, 5))
    train(small("cut", epochs=1), resume=True)
    whole, cut = (history.read_metrics(small(name).run / "metrics.csv")[0] for name in ("whole", "cut"))
    assert (whole.train_loss, whole.train_top1) == (cut.train_loss, cut.train_top1)


def test_a_stopped_run_says_how_to_go_on(small: Make, caplog: pytest.LogCaptureFixture) -> None:
    options = small("cut")
    train(options, on_progress=signal_at(2, 3))
    assert "SIGTERM: saved after epoch 1 and 3 of 6 steps" in caplog.text
    assert f"go on with: alexnet-fast train --run {options.run} --resume" in caplog.text


def damage(path: Path, how: str) -> None:
    """Spoils a file as disks and people do; `last.pt` and `best.pt` are other names of it."""
    content = bytearray(path.read_bytes())
    if how == "cut short":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    else:
        # Within a weight: the archive still opens.
        weight = load_checkpoint(path)["weights"]["0.weight"]
        content[content.index(bytes(weight.untyped_storage().tolist())) + 100] ^= 1
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(content)


@pytest.mark.parametrize("how", ["cut short", "empty", "one byte changed"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    small: Make, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    train(small("whole"))
    cut = small("cut", checkpoint_steps=1)
    train(cut, on_progress=signal_at(2, 4))
    newest = cut.run / "checkpoints" / numbered(cut.run)[-1]
    damage(newest, how)
    assert train(cut, resume=True)["resumed_from"] == 1
    assert f"skipped: {newest} is " in caplog.text
    assert "from epoch 2, after 3 of its steps" in caplog.text
    assert same_run(small("whole").run, cut.run)


def test_where_every_checkpoint_is_damaged_nothing_is_begun_anew(small: Make) -> None:
    options = small("cut")
    train(options, on_progress=signal_at(1, 2))
    for path in (options.run / "checkpoints").glob("epoch-*.pt"):
        damage(path, "cut short")
    with pytest.raises(UserError, match="no checkpoint in .*checkpoints is good; restore one"):
        train(options, resume=True)


def test_the_newest_is_found_by_what_it_holds(small: Make) -> None:
    """Neither by a name that sorts last as text, nor by the time of the file."""
    options = small("cut", keep_checkpoints=3, checkpoint_steps=1)
    train(options, on_progress=signal_at(2, 5))
    directory = options.run / "checkpoints"
    (directory / "last.pt").unlink()
    old, *_, new = numbered(options.run)
    (directory / new).rename(directory / "epoch-2-step-9.pt")
    (directory / old).rename(directory / "epoch-9-step-10.pt")
    os.utime(directory / "epoch-9-step-10.pt", (4e9, 4e9))
    result = train(options, resume=True, on_progress=signal_at(2, 6))
    assert result["resumed_from"] == 1
    assert result["steps"] == 12, "it went on after step 11, not after an earlier one"


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_n_stay_and_the_best(small: Make, keep: int) -> None:
    options = small("run", keep_checkpoints=keep, checkpoint_steps=2, epochs=2)
    train(options, on_progress=signal_at(2, 5))
    places = [(1, 6), (1, 8), (1, 10), (1, 11)]
    wanted = {f"epoch-{epoch:05d}-step-{step:09d}.pt" for epoch, step in [(1, 6), *places[-keep:]]}
    assert set(numbered(options.run)) == wanted
    assert load_checkpoint(options.run / "checkpoints" / "best.pt")["provenance"]["epoch"] == 1
    last = load_checkpoint(options.run / "checkpoints" / "last.pt")
    assert last["training"]["replicated"]["position"]["epoch_step"] == 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"optimizer": "adam"}, "--optimizer sgd, not adam"),
        ({"grad_accum_steps": 2}, "--grad-accum-steps 1, not 2"),
        ({"model": "small_net:Plain"}, "--model small_net:Net, not small_net:Plain"),
    ],
)
def test_options_that_make_it_another_run_must_stay(
    small: Make, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    train(small("run"), on_progress=signal_at(1, 1))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(UserError, match=complaint):
        train(small("run", **change), resume=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_images_that_came_and_went_are_named(small: Make, two_classes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(two_classes, data)
    train(small("run", data=data), on_progress=signal_at(1, 1))
    gone = sorted((data / "train" / "mono").iterdir())[3]
    gone.rename(data / "train" / "poly" / "other.png")
    complaint = f"1 is gone .train/mono/{gone.name}. and 1 is new .train/poly/other.png."
    with pytest.raises(UserError, match=f"the training images in .* have changed .*: {complaint}"):
        train(small("run", data=data), resume=True)


def test_a_list_of_images_left_out_is_no_hindrance(small: Make, tmp_path: Path) -> None:
    """It is a path, which no checkpoint may hold; the images that are left are compared instead."""
    excluded = tmp_path / "bad.txt"
    excluded.write_text("", encoding="utf-8")
    train(small("run", exclude=excluded), on_progress=signal_at(1, 2))
    assert train(small("run", exclude=excluded), resume=True)["epochs"] == 3


def test_a_class_too_many_is_another_run(small: Make, two_classes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(two_classes, data)
    train(small("run", data=data), on_progress=signal_at(1, 1))
    for part in ("train", "val"):
        shutil.copytree(data / part / "poly", data / part / "third")
    with pytest.raises(UserError, match="32 are new .train/third/"):
        train(small("run", data=data), resume=True)


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(small: Make) -> None:
    """The limit on file sizes stands for the disk: the kernel refuses the write in the same way."""
    train(small("whole"))
    options = small("cut", checkpoint_steps=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (2, 3):
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))

    try:
        with pytest.raises(UserError, match="cannot write .*epoch-00001-step-.*: file too large"):
            train(options, on_progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(options.run.rglob("*.partial"))
    last = load_checkpoint(options.run / "checkpoints" / "last.pt")
    # How far the thread that writes had come when the disk was full is a matter of the machine's load.
    assert last["training"]["replicated"]["position"]["step"] in range(1, 10)
    train(options, resume=True)
    assert same_run(small("whole").run, options.run)


def test_weights_that_are_no_numbers_are_never_saved(small: Make) -> None:
    options = small("run", lr=1e30, checkpoint_steps=1)
    with pytest.raises(UserError, match=r"(the loss is|hold infinite or undefined values)"):
        train(options)
    for name in numbered(options.run):
        content = load_checkpoint(options.run / "checkpoints" / name)
        assert all(bool(torch.isfinite(tensor).all()) for tensor in content["weights"].values())


def test_two_runs_in_one_folder_at_the_same_time(small: Make) -> None:
    options = small("run")
    refused: list[str] = []

    def second(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (1, 2):
            with pytest.raises(UserError) as error:
                train(options, resume=True)
            refused.append(str(error.value))

    train(options, on_progress=second)
    assert f"{options.run} is in use by process {os.getpid()} on " in refused[0]


def test_a_run_that_is_over_has_nothing_to_do(small: Make) -> None:
    train(small("run"))
    weights = (small("run").run / "model.safetensors").read_bytes()
    assert train(small("run"), resume=True)["steps"] == 18
    assert (small("run").run / "model.safetensors").read_bytes() == weights


def test_a_checkpoint_written_by_another_program_is_left_aside(
    small: Make, caplog: pytest.LogCaptureFixture
) -> None:
    options = small("run")
    train(options, on_progress=signal_at(1, 2))
    torch.save({"weights": torch.zeros(1)}, options.run / "checkpoints" / "zz.pt")
    assert train(options, resume=True)["epochs"] == 3
    assert "zz.pt is not a checkpoint of alexnet-fast" in caplog.text
