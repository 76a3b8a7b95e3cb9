"""Schedule, meter, precision, configuration and checkpoints, each by itself."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet_fast.errors import UserError
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.loader import Batch
from alexnet_fast.training.batch_norm import measure_statistics
from alexnet_fast.training.checkpoint.format import load_checkpoint
from alexnet_fast.training.checkpoint.model_io import load_trained, read_pretrained
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.lr_schedule import ReduceOnPlateau
from alexnet_fast.training.metrics import ClassificationMetrics, EpochMetrics
from alexnet_fast.training.metrics_log import MetricsLog, best_row, read_metrics
from alexnet_fast.training.precision import choose_precision
from alexnet_fast.utils.atomic import atomic_file, write_atomically
from alexnet_fast.utils.device import choose_device


class TestPlateau:
    """Divide by 10 when the error stops falling; stop when that no longer helps."""

    def rates(self, errors: list[float], **options: int) -> tuple[list[float], ReduceOnPlateau]:
        """Returns the learning rate after each epoch."""
        plateau = ReduceOnPlateau(lr=0.01, **{"patience": 2, "max_reductions": 3, **options})
        rates = []
        for error in errors:
            plateau.end_epoch(error)
            rates.append(plateau.lr)
        return rates, plateau

    def test_progress_keeps_the_rate(self) -> None:
        rates, plateau = self.rates([0.9, 0.8, 0.7, 0.7, 0.6])
        assert rates == [0.01] * 5
        assert not plateau.finished

    def test_two_epochs_without_progress_divide_it(self) -> None:
        rates, _ = self.rates([0.5, 0.5, 0.6, 0.4])
        assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001])

    def test_three_divisions_then_the_end(self) -> None:
        rates, plateau = self.rates([0.5] * 8)
        assert min(rates) == pytest.approx(1e-5)
        assert not plateau.finished
        plateau.end_epoch(0.5)
        assert plateau.finished
        assert plateau.lr == pytest.approx(1e-5)

    def test_state_survives(self) -> None:
        _, plateau = self.rates([0.5, 0.5])
        copy = ReduceOnPlateau(lr=1.0, patience=plateau.patience, max_reductions=3)
        copy.load_state_dict(plateau.state_dict())
        assert copy == plateau


def test_batch_norm_is_measured_as_the_mean_over_all_batches() -> None:
    """Whatever came last does not count more, and dropout does not change what is measured."""
    net = create_model("alexnet-bn-64", 2).train()
    images = torch.randn(12, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    batches = [
        Batch(part * scale, torch.zeros(4), np.arange(4))
        for part, scale in zip(images.split(4), (1, 5, 9), strict=True)
    ]
    first = net.conv1(torch.cat([batch.images for batch in batches]))
    measure_statistics(net, batches, choose_precision("off", torch.device("cpu")))
    torch.testing.assert_close(net.bn1.running_mean, first.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not net.training
    assert net.bn1.momentum == 0.1
    again = net.bn7.running_var.clone()
    measure_statistics(net, batches, choose_precision("off", torch.device("cpu")))
    assert torch.equal(net.bn7.running_var, again)


def test_meter_counts_top1_and_top5() -> None:
    meter = ClassificationMetrics(torch.device("cpu"))
    scores = torch.eye(10)
    scores[9, 9], scores[9, :5] = -1, 1.0
    meter.add(torch.tensor(2.0), scores, torch.arange(10))
    meter.add(torch.tensor(4.0), scores[:5], torch.arange(5))
    score = meter.read()
    assert score.images == 15
    assert score.loss == pytest.approx((2 * 10 + 4 * 5) / 15)
    assert score.top1 == pytest.approx(14 / 15)
    assert score.top5 == pytest.approx(14 / 15)


def test_the_fifth_place_is_within_five_and_the_sixth_is_not() -> None:
    meter = ClassificationMetrics(torch.device("cpu"))
    falling = torch.arange(10.0, 0.0, -1.0).expand(2, 10)
    meter.add(torch.tensor(1.0), falling, torch.tensor([4, 5]))
    assert (meter.read().top1, meter.read().top5) == (0.0, 0.5)


def test_top5_of_two_classes_is_all() -> None:
    meter = ClassificationMetrics(torch.device("cpu"))
    meter.add(torch.tensor(1.0), torch.tensor([[0.9, 0.1]]), torch.tensor([1]))
    assert (meter.read().top1, meter.read().top5) == (0.0, 1.0)


def test_precision_on_the_cpu_is_float32_unless_asked_for() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu).name == "fp32"
    assert choose_precision("bf16", cpu).name == "bf16"
    with pytest.raises(UserError, match="--amp fp16 needs a GPU"):
        choose_precision("fp16", cpu)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(UserError, match="--device tpu is not a device"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        assert choose_device("auto").type == "cpu"
        with pytest.raises(UserError, match="--device cuda: PyTorch finds no CUDA device"):
            choose_device("cuda")


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("lr", -1.0), ("lr_patience", 0), ("seed", -1)])
def test_options_out_of_range(name: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{name}={value} does not fit"):
        TrainConfig(data=tmp_path, run=tmp_path, **{name: value})


class TestAtomicFiles:
    """A file is the old one or the new one, never half of it."""

    def test_a_failure_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "weights"
        write_atomically(path, b"old")
        with pytest.raises(RuntimeError, match="cut off"), atomic_file(path) as file:
            file.write(b"ne")
            raise RuntimeError("cut off")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="cannot write .*weights: no such file"):
            write_atomically(tmp_path / "no" / "weights", b"new")

    def test_files_are_as_readable_as_any_other(self, tmp_path: Path) -> None:
        write_atomically(tmp_path / "ours", b"")
        (tmp_path / "plain").touch()
        assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


class TestHistory:
    """metrics.csv and TensorBoard."""

    def row(self, epoch: int, top1: float = 0.5, loss: float = 1.0) -> EpochMetrics:
        """Makes an epoch."""
        return EpochMetrics(
            epoch=epoch,
            step=epoch * 10,
            lr=0.01,
            train_loss=loss,
            train_top1=top1,
            val_loss=loss,
            val_top1=top1,
            val_top5=1.0,
            images_per_second=20.0,
            data_wait=0.25,
            seconds=5.0,
            bad_images=0,
        )

    def test_epochs_after_the_checkpoint_are_run_again_and_not_listed_twice(self, tmp_path: Path) -> None:
        first = MetricsLog(tmp_path / "m.csv", tmp_path / "tb")
        for epoch in (1, 2, 3):
            first.add(self.row(epoch))
        first.close()
        again = MetricsLog(tmp_path / "m.csv", tmp_path / "tb", [self.row(1), self.row(2)])
        again.add(self.row(3, top1=0.75))
        again.close()
        assert [(r.epoch, r.val_top1) for r in read_metrics(tmp_path / "m.csv")] == [
            (1, 0.5),
            (2, 0.5),
            (3, 0.75),
        ]

    def test_an_epoch_cut_off_between_checkpoint_and_file_is_not_lost(self, tmp_path: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        first = MetricsLog(tmp_path / "m.csv", tmp_path / "tb")
        first.add(self.row(1))
        first.close()
        again = MetricsLog(tmp_path / "m.csv", tmp_path / "tb", [self.row(1), self.row(2)])
        again.add(self.row(3))
        again.close()
        assert [row.epoch for row in read_metrics(tmp_path / "m.csv")] == [1, 2, 3]
        events = EventAccumulator(str(tmp_path / "tb"))
        events.Reload()
        # Two event files of one second are read in the order of their names.
        assert sorted(event.step for event in events.Scalars("loss/val")) == [1, 2, 3]

    def test_epochs_drawn_but_not_kept_are_drawn_once(self, tmp_path: Path) -> None:
        """The run was cut off after it had drawn its first epoch and before that epoch was saved."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        first = MetricsLog(tmp_path / "m.csv", tmp_path / "tb")
        first.tensorboard.add_epoch(self.row(1))
        first.close()
        again = MetricsLog(tmp_path / "m.csv", tmp_path / "tb", [])
        again.add(self.row(1))
        again.close()
        events = EventAccumulator(str(tmp_path / "tb"))
        events.Reload()
        assert [event.step for event in events.Scalars("loss/val")] == [1]

    def test_ties_go_to_the_lower_loss(self) -> None:
        rows = [self.row(1, 0.5, 2.0), self.row(2, 0.5, 1.0), self.row(3, 0.4, 0.1)]
        assert best_row(rows).epoch == 2

    def test_a_file_that_is_no_metrics(self, tmp_path: Path) -> None:
        (tmp_path / "m.csv").write_text("a,b\n1,2\n", encoding="utf-8")
        with pytest.raises(UserError, match="is not the metrics.csv of a run"):
            read_metrics(tmp_path / "m.csv")


class TestCheckpointFiles:
    """What is no checkpoint is refused in a sentence, and no code in it runs."""

    @pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"PK\x03\x04 half a zip"])
    def test_damaged_files(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "last.pt").write_bytes(content)
        with pytest.raises(UserError, match="is not a checkpoint, or is damaged"):
            load_checkpoint(tmp_path / "last.pt")

    def test_a_pickle_that_would_run_a_command(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return os.system, (f"touch {tmp_path / 'owned'}",)

        (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
        torch.save({"format": Evil()}, tmp_path / "evil2.pt")
        for name in ("evil.pt", "evil2.pt"):
            with pytest.raises(UserError, match="is not a checkpoint|nothing in a file is run"):
                load_trained(tmp_path / name)
        assert not (tmp_path / "owned").exists()

    @pytest.mark.parametrize("read", [load_trained, load_checkpoint, read_pretrained])
    def test_a_checkpoint_of_an_earlier_version_is_refused_in_one_sentence(
        self, tmp_path: Path, read: Callable[[Path], object]
    ) -> None:
        torch.save({"format": "alexnet-fast checkpoint 2", "weights": {}}, tmp_path / "last.pt")
        with pytest.raises(UserError) as caught:
            read(tmp_path / "last.pt")
        assert str(caught.value) == (
            f"{tmp_path / 'last.pt'} has the format 'alexnet-fast checkpoint 2';"
            " this version reads 'alexnet-fast checkpoint 3'; use the version that wrote it, or train again"
        )

    def test_somebody_elses_checkpoint(self, tmp_path: Path) -> None:
        torch.save({"weights": torch.zeros(1), "epoch": 3}, tmp_path / "other.pt")
        with pytest.raises(UserError, match="is not a checkpoint of alexnet-fast"):
            load_trained(tmp_path / "other.pt")

    def test_a_missing_one_and_a_folder_without_one(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no such run or file"):
            load_trained(tmp_path / "nowhere")
        with pytest.raises(UserError, match="holds no checkpoint"):
            load_trained(tmp_path)

    def test_a_damaged_safetensors_file(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"\x10")
        with pytest.raises(UserError, match="is not a safetensors file"):
            load_trained(tmp_path / "model.safetensors")

    def test_bare_weights_need_the_models_name(self, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        net = create_model("alexnet-owt-64", 10)
        save_file(dict(net.state_dict()), tmp_path / "bare.safetensors")
        torch.save(net.state_dict(), tmp_path / "bare.pth")
        with pytest.raises(UserError, match="does not say which model it belongs to; give --model"):
            load_trained(tmp_path / "bare.safetensors")
        for name in ("bare.safetensors", "bare.pth"):
            trained = load_trained(tmp_path / name, "alexnet-owt-64")
            assert len(trained.classes) == 10
            assert torch.equal(trained.net.fc8.weight, net.fc8.weight)
        with pytest.raises(UserError, match="conv1.weight in .* has shape 64x3x5x5, .* needs 96x3x5x5"):
            load_trained(tmp_path / "bare.pth", "alexnet-64")
