"""The event files of a run, read by TensorBoard's own reader."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.metrics_log import read_metrics
from alexnet_fast.training.run import train
from alexnet_fast.training.tensorboard import TensorBoard, quiet_writer_errors
from small_disk import small_disk

Make = Callable[..., TrainConfig]

SCALARS = {
    "loss/train": "train_loss",
    "loss/val": "val_loss",
    "top1/train": "train_top1",
    "top1/val": "val_top1",
    "top5/val": "val_top5",
    "lr": "lr",
    "images_per_second": "images_per_second",
    "data_wait": "data_wait",
}


def read(directory: Path) -> EventAccumulator:
    """Reads all of the event files."""
    events = EventAccumulator(str(directory), size_guidance={"histograms": 0, "images": 0, "scalars": 0})
    events.Reload()
    return events


@pytest.mark.slow
def test_a_run_that_was_stopped_and_resumed_draws_every_curve_once(config: Make, tmp_path: Path) -> None:
    train(config(epochs=2, model="alexnet-64"))
    train(config(epochs=3, model="alexnet-64"), resume=True)
    events, rows = read(tmp_path / "run" / "tensorboard"), read_metrics(tmp_path / "run" / "metrics.csv")
    assert set(events.Tags()["scalars"]) == set(SCALARS)
    for tag, field in SCALARS.items():
        drawn = events.Scalars(tag)
        assert [event.step for event in drawn] == [1, 2, 3], tag
        assert [event.value for event in drawn] == pytest.approx(
            [getattr(row, field) for row in rows], rel=1e-5
        )
    assert all(0 < row.data_wait < 1 for row in rows)
    for name in ("weights/conv1.weight", "weights/fc8.bias", "activations/conv5", "activations/relu7"):
        assert [event.step for event in events.Histograms(name)] == [1, 2, 3], name
    # Two of a kind: what the ReLU gives is never negative, what it is given is.
    assert events.Histograms("activations/relu7")[-1].histogram_value.min >= 0
    assert events.Histograms("activations/conv5")[-1].histogram_value.min < 0
    assert any("conv5" in node.name for node in events.Graph().node)
    assert [event.step for event in events.Images("train/images")] == [1]


def test_what_was_drawn_beyond_the_checkpoint_is_drawn_anew(tmp_path: Path) -> None:
    """Histograms too: epoch 3 was drawn by a run whose checkpoint of epoch 3 was lost."""
    spec, images = AugmentSpec(resize=8, crop=8), torch.zeros(2, 3, 8, 8)
    for done, epochs in ((0, (1, 2, 3)), (2, (3, 4))):
        board = TensorBoard(tmp_path, done)
        for epoch in epochs:
            board.log_network(epoch, nn.Sequential(nn.Conv2d(3, 1, 3)), images, spec)
        board.close()
    events = read(tmp_path)
    assert [event.step for event in events.Histograms("weights/0.weight")] == [1, 2, 3, 4]


def test_training_images_are_shown_as_they_are(tmp_path: Path) -> None:
    """Normalisation is undone: an image of one colour comes back in that colour."""
    import io

    import numpy as np
    from PIL import Image

    spec = AugmentSpec(resize=8, crop=8, mean=(100.0, 110.0, 120.0), std=(50.0, 50.0, 50.0))
    colour = torch.tensor([10.0, 200.0, 255.0]).view(1, 3, 1, 1)
    images = ((colour - torch.tensor(spec.mean).view(1, 3, 1, 1)) / 50.0).expand(1, 3, 8, 8)
    board = TensorBoard(tmp_path, 0)
    board.log_network(1, nn.Sequential(nn.Conv2d(3, 1, 3)), images, spec)
    board.close()
    (tag,) = read(tmp_path).Tags()["images"]
    (event,) = read(tmp_path).Images(tag)
    shown = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB"))
    assert shown.reshape(-1, 3).tolist() == [[10, 200, 255]] * 64


def test_a_network_that_cannot_be_traced_has_no_graph_and_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.jit.is_tracing():
                raise KeyError("not traced")
            return self.layer(x.mean((2, 3)))

    board = TensorBoard(tmp_path, 0)
    with caplog.at_level("INFO"):
        board.log_network(1, Stubborn(), torch.zeros(2, 3, 8, 8), AugmentSpec(resize=8, crop=8))
    board.close()
    assert "no graph: the network cannot be traced (KeyError)" in caplog.text
    tags = read(tmp_path).Tags()
    assert not tags["graph"]
    assert tags["histograms"]


def test_looking_inside_changes_neither_mode_nor_random_numbers_nor_weights(tmp_path: Path) -> None:
    class Noisy(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x + torch.rand_like(x))

    net = Noisy(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images = torch.randn(2, 3, 8, 8)
    state = torch.get_rng_state()
    board = TensorBoard(tmp_path, 0)
    board.log_network(1, net, images, AugmentSpec(resize=8, crop=8))
    board.close()
    assert net.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_full_disk_is_told_by_who_draws_alone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """TensorBoard's own thread meets it first; another thread's error is shown as ever."""

    def fail() -> None:
        raise ValueError("of another thread")

    row = EpochMetrics(
        **{field.name: 1 for field in dataclasses.fields(EpochMetrics)}  # type: ignore[arg-type]
    )
    with pytest.MonkeyPatch.context() as patch, small_disk(tmp_path / "disk", 8) as disk:
        patch.setattr(threading, "excepthook", threading.__excepthook__)
        with quiet_writer_errors():
            others = set(threading.enumerate())
            board = TensorBoard(disk, 0)
            with pytest.raises(OSError, match="No space left on device"):
                for _ in range(100):
                    board.add_epoch(row)
            for writer in set(threading.enumerate()) - others:
                writer.join(timeout=60)
            assert capfd.readouterr().err == ""
            other = threading.Thread(target=fail)
            other.start()
            other.join()
        assert "ValueError: of another thread" in capfd.readouterr().err
        assert threading.excepthook is threading.__excepthook__
