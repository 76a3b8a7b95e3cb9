"""A training run: its files, its repetition bit for bit, its resumption, its errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.training.checkpoint import format as checkpoint_format
from alexnet_fast.training.checkpoint.format import load_checkpoint
from alexnet_fast.training.checkpoint.model_io import load_trained
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.metrics_log import MetricsLog, read_metrics
from alexnet_fast.training.run import train

Make = Callable[..., TrainConfig]


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Returns the weights of a run's last checkpoint."""
    found: dict[str, torch.Tensor] = load_checkpoint(run / "checkpoints" / "last.pt")["weights"]
    return found


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Tells whether two sets of weights are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("log_every", [1, 2, 3, 20])
def test_each_epoch_is_reported_once_at_its_end(config: Make, log_every: int) -> None:
    seen: list[Progress] = []
    train(config(epochs=1, log_interval=log_every), on_progress=seen.append)
    steps = [progress.step for progress in seen if progress.phase == "training"]
    assert steps == sorted(set(steps))
    assert steps[-1] == 3


def test_a_run_leaves_what_the_contract_names(config: Make) -> None:
    options = config()
    seen: list[Progress] = []
    result = train(options, on_progress=seen.append)
    run = options.run
    assert result["epochs"] == 2
    assert result["steps"] == 6
    assert result["best"]["epoch"] in (1, 2)
    assert result["resumed_from"] is None
    assert result["bad_images"] == 0
    for name in ("config.toml", "log.txt", "metrics.csv", "model.safetensors", "classes.json"):
        assert (run / name).stat().st_size > 0, name
    assert json.loads((run / "classes.json").read_text(encoding="utf-8")) == ["mono", "poly"]
    assert [row.epoch for row in read_metrics(run / "metrics.csv")] == [1, 2]
    assert "epoch   2  train loss" in (run / "log.txt").read_text(encoding="utf-8")
    assert {progress.epoch for progress in seen} == {1, 2}
    ends = [progress for progress in seen if progress.step == progress.steps]
    assert [progress.epoch for progress in ends if progress.phase == "training"] == [1, 2]
    validated = [progress for progress in ends if progress.phase == "validating"]
    assert [(progress.epoch, progress.done) for progress in validated] == [(1, 1), (2, 1)]
    assert {progress.after["validating"] for progress in seen} == {1}
    assert not list(run.rglob("*.partial"))


def test_tensorboard_has_loss_accuracy_and_learning_rate(config: Make) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = config()
    train(options)
    events = EventAccumulator(str(options.run / "tensorboard"))
    events.Reload()
    wanted = {"loss/train", "loss/val", "top1/train", "top1/val", "top5/val", "lr"}
    assert wanted <= set(events.Tags()["scalars"])
    rows = read_metrics(options.run / "metrics.csv")
    drawn = [event.value for event in events.Scalars("loss/val")]
    assert drawn == pytest.approx([row.val_loss for row in rows], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("dali", [True, False], ids=["dali", "pillow"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(config: Make, tmp_path: Path, dali: bool) -> None:
    for name in ("one", "two"):
        train(config(run=tmp_path / name, dali=dali))
    train(config(run=tmp_path / "other", dali=dali, seed=8))
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "other"))


def test_a_resumed_run_ends_in_the_weights_of_one_that_was_never_stopped(
    config: Make, tmp_path: Path
) -> None:
    train(config(run=tmp_path / "whole", epochs=3))
    train(config(run=tmp_path / "halves", epochs=1))
    result = train(config(run=tmp_path / "halves", epochs=3), resume=True)
    assert result["resumed_from"] == 1
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "halves"))
    whole, halves = (read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "halves"))
    assert [row.val_loss for row in whole] == [row.val_loss for row in halves]


@pytest.mark.slow
def test_a_run_cut_off_while_it_saves_goes_on_from_the_checkpoint_before(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk ends in the middle of the second epoch's checkpoint: the first one is still there, whole."""
    train(config(run=tmp_path / "whole", epochs=2))
    real_save, calls = torch.save, []

    def failing_save(content: object, file: object) -> None:
        calls.append(None)
        if len(calls) > 1:
            file.write(b"half a checkpoint")  # type: ignore[attr-defined]
            raise OSError(28, "No space left on device")
        real_save(content, file)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoint_format.torch, "save", failing_save)
    with pytest.raises(UserError, match="cannot write .*: no space left on device"):
        train(config(run=tmp_path / "cut", epochs=2))
    monkeypatch.undo()
    assert not list((tmp_path / "cut").rglob("*.partial"))
    result = train(config(run=tmp_path / "cut", epochs=2), resume=True)
    assert result["resumed_from"] == 1
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_resume_starts_where_there_is_nothing_to_resume(config: Make) -> None:
    assert train(config(epochs=1), resume=True)["resumed_from"] is None


def test_a_second_run_in_the_same_folder_is_refused(config: Make) -> None:
    train(config(epochs=1))
    with pytest.raises(UserError, match="holds a run already; give --resume"):
        train(config(epochs=1))


@pytest.mark.slow
def test_a_cosine_run_is_resumed_at_its_place(config: Make, tmp_path: Path) -> None:
    options = {"lr_schedule": "cosine", "epochs": 2}
    train(config(run=tmp_path / "whole", **options))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetricsLog, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(config(run=tmp_path / "cut", **options))
    assert train(config(run=tmp_path / "cut", **options), resume=True)["resumed_from"] == 1
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert [row.epoch for row in read_metrics(tmp_path / "cut" / "metrics.csv")] == [1, 2]
    # A longer run has another course of the rate, and the change is on record.
    train(config(run=tmp_path / "cut", lr_schedule="cosine", epochs=3), resume=True)
    assert "--epochs 2 -> 3" in (tmp_path / "cut" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"batch_size": 8}, "--batch-size 16, not 8"),
        ({"model": "convnet-96"}, "--model convnet-64, not convnet-96"),
        ({"seed": 8}, "--seed 7, not 8"),
        ({"optimizer": "adam"}, "--optimizer sgd, not adam"),
    ],
)
def test_another_run_is_not_resumed(config: Make, change: dict[str, object], complaint: str) -> None:
    train(config(epochs=1))
    with pytest.raises(UserError, match=complaint):
        train(config(epochs=2, **change), resume=True)


def test_images_that_changed_since_are_named(config: Make, two_classes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for file in two_classes.rglob("*.png"):
        link = data / file.relative_to(two_classes)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    train(config(data=data, epochs=1))
    next((data / "train" / "mono").iterdir()).unlink()
    with pytest.raises(UserError, match="the training images in .* have changed"):
        train(config(data=data, epochs=2), resume=True)


def test_best_is_the_epoch_with_the_highest_accuracy(config: Make) -> None:
    options = config(epochs=3)
    result = train(options)
    rows = read_metrics(options.run / "metrics.csv")
    assert result["best"]["top1"] == max(row.val_top1 for row in rows)
    best = load_trained(options.run)
    assert best.provenance["epoch"] == result["best"]["epoch"]
    stored = load_trained(options.run / "model.safetensors")
    assert same(dict(best.net.state_dict()), dict(stored.net.state_dict()))
    assert stored.classes == ("mono", "poly")
    assert stored.spec == best.spec


def test_colours_of_the_data_replace_the_constants(config: Make) -> None:
    options = config(epochs=1, pca_jitter="data", mean="data")
    train(options)
    spec = load_trained(options.run).spec
    assert spec.jitter is not None
    # The cells are grey: all of their variance lies along R = G = B.
    assert spec.mean[0] == pytest.approx(spec.mean[2], abs=0.1)
    assert [row[0] for row in spec.jitter.eigenvectors] == pytest.approx([3**-0.5] * 3, abs=1e-3)
    assert spec.jitter.stdev[1] < 0.01 * spec.jitter.stdev[0]


def test_an_exploding_loss_ends_the_run_and_says_where(config: Make) -> None:
    said = r"the loss is \w+ in epoch \d, before step \d+; go back .* --resume --lr 100000"
    with pytest.raises(UserError, match=said):
        train(config(epochs=8, lr=1e6, model="alexnet-owt-64"))


def test_nothing_is_left_behind_by_options_that_are_refused(config: Make) -> None:
    options = config(batch_size=1000)
    with pytest.raises(UserError, match="--batch-size 1000"):
        train(options)
    assert not options.run.exists()


def test_a_step_reads_nothing_back_from_the_device(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever waits for a device shows up in the profile as a scalar that is read; a step has none."""
    from torch.profiler import ProfilerActivity, profile

    from alexnet_fast.training.trainer import Trainer

    def operators(function: Callable[..., object], *arguments: object) -> set[str]:
        with profile(activities=[ProfilerActivity.CPU]) as record:
            function(*arguments)
        return {event.key for event in record.key_averages()}

    seen: set[str] = set()
    take_step = Trainer._take_step
    monkeypatch.setattr(
        Trainer, "_take_step", lambda *arguments: seen.update(operators(take_step, *arguments))
    )
    train(config(epochs=1))
    assert "aten::_fused_sgd_" in seen
    assert "aten::_local_scalar_dense" not in seen
    assert "aten::_local_scalar_dense" in operators(float, torch.ones(1)), "the control is seen"


@pytest.mark.gpu
def test_mixed_precision_on_a_gpu(config: Make) -> None:
    for amp in ("fp16", "bf16"):
        options = config(run=config().run / amp, device="cuda", amp=amp)
        assert train(options)["precision"] == amp
