"""Many processes: the same training as in one, each image counted once, gradients sent once a step."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from train_jobs import HERE

from alexnet_fast.errors import UserError
from alexnet_fast.training.checkpoint.format import load_checkpoint
from alexnet_fast.training.config import TrainConfig
from alexnet_fast.training.console import Progress
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.metrics_log import read_metrics
from alexnet_fast.training.run import train

# 48 training images: 6 steps an epoch. 15 validation images, which two processes cannot share evenly.
OPTIONS: dict[str, Any] = {
    "model": "small_net:Plain",
    "epochs": 2,
    "batch_size": 8,
    "workers": 1,
    "seed": 7,
    "checkpoint_minutes": 0,
}


@pytest.fixture(scope="module")
def data(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two classes, less one image to validate on."""
    root = tmp_path_factory.mktemp("uneven")
    for file in sorted(two_classes.rglob("*.png"))[:-1]:
        link = root / file.relative_to(two_classes)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file.resolve())
    return root


def started_by_torchrun(job: Path, data: Path, run: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Trains in two processes as `counted_job.py` does it."""
    job.write_text(json.dumps({**OPTIONS, **options, "data": str(data), "run": str(run)}), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, str(HERE / "counted_job.py"), str(job)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=240,
    )


def torchrun(tmp_path: Path, data: Path, **options: Any) -> tuple[Path, list[int]]:
    """Trains in two processes; returns the run, and how often gradients travelled in each."""
    run = tmp_path / "two" / "run"
    job = tmp_path / "job.json"
    done = started_by_torchrun(job, data, run, **options)
    assert done.returncode == 0, done.stderr
    return run, [int(job.with_suffix(f".{rank}").read_text(encoding="utf-8")) for rank in (0, 1)]


@pytest.fixture(scope="module")
def two(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A run of two processes, each step in two passes."""
    return torchrun(tmp_path_factory.mktemp("job"), data, grad_accum_steps=2)


@pytest.fixture(scope="module")
def one(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run of one process in one pass."""
    run = tmp_path_factory.mktemp("one") / "run"
    train(TrainConfig(data=data, run=run, **OPTIONS))
    return run


def test_two_processes_end_in_the_weights_of_one(one: Path, two: tuple[Path, list[int]]) -> None:
    left, right = (load_checkpoint(run / "checkpoints" / "last.pt")["weights"] for run in (one, two[0]))
    start = {name: tensor.abs().max() for name, tensor in left.items()}
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-4, atol=float(1e-5 * start[name]))


@pytest.mark.slow
def test_two_processes_compute_each_vector_of_a_frozen_network_once(
    one: Path, data: Path, tmp_path: Path
) -> None:
    """One file in the order of the image list, whoever computed what, and the transfer of one process."""
    options = {"weights": str(one), "finetune": True}
    two, _ = torchrun(tmp_path, data, **options)
    alone = tmp_path / "alone"
    train(TrainConfig(**{**OPTIONS, **options, "weights": one, "data": data, "run": alone}))
    for part, images in (("train", 48), ("val", 15)):
        (left,), (right,) = (sorted((run / "features").glob(f"{part}-*.index.npy")) for run in (two, alone))
        assert np.array_equal(np.load(left), np.arange(images))
        assert np.array_equal(np.load(right), np.arange(images))
        vectors = [np.load(str(index).replace(".index", "")) for index in (left, right)]
        np.testing.assert_allclose(*vectors, rtol=1e-4, atol=1e-5)
    assert len(list((two / "features").iterdir())) == 4
    for left, right in zip(figures(two), figures(alone), strict=True):
        assert left == pytest.approx(right, rel=1e-3)


@pytest.mark.slow
def test_a_frozen_network_needs_a_disk_that_all_processes_share(
    one: Path, data: Path, tmp_path: Path
) -> None:
    options = {"weights": str(one), "finetune": True}
    done = started_by_torchrun(tmp_path / "job.json", data, tmp_path / "of-{rank}" / "run", **options)
    assert done.returncode != 0
    assert "not all processes of the job see" in done.stderr
    assert "on a disk that all machines share, or give freeze_epochs=0" in done.stderr


def figures(run: Path) -> list[tuple[float, ...]]:
    """Returns losses and accuracies epoch by epoch."""
    names = ("train_loss", "train_top1", "val_loss", "val_top1", "val_top5")
    rows: list[EpochMetrics] = read_metrics(run / "metrics.csv")
    return [tuple(getattr(row, name) for name in names) for row in rows]


def test_each_image_is_counted_once(one: Path, two: tuple[Path, list[int]]) -> None:
    for left, right in zip(figures(one), figures(two[0]), strict=True):
        assert left == pytest.approx(right, rel=1e-4)
    top1 = figures(two[0])[-1][3]
    assert top1 * 15 == pytest.approx(round(top1 * 15)), "a share of 15 images, not of 16"


def test_gradients_travel_once_a_step(two: tuple[Path, list[int]]) -> None:
    """12 steps of two passes each, after one rehearsal."""
    assert two[1] == [13, 13]


def test_another_number_of_processes_goes_on_between_epochs_only(
    two: tuple[Path, list[int]], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(two[0], tmp_path / "more")
    options = {**OPTIONS, "grad_accum_steps": 2, "data": data, "run": tmp_path / "more"}
    result = train(TrainConfig(**{**options, "epochs": 3}), resume=True)
    assert (result["resumed_from"], result["epochs"]) == (2, 3)

    def stop(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (2, 3):
            os.kill(os.getpid(), signal.SIGTERM)

    cut = {**OPTIONS, "data": data, "run": tmp_path / "cut", "log_interval": 1}
    train(TrainConfig(**cut), on_progress=stop)
    pretend_two(tmp_path / "cut")
    with pytest.raises(UserError, match="saved by 2 processes within epoch 2, and 1 cannot go on there"):
        train(TrainConfig(**cut), resume=True)
    result = train(TrainConfig(**cut), resume=True, redo_epoch=True)
    assert (result["resumed_from"], result["epochs"], result["steps"]) == (1, 2, 12)


def pretend_two(run: Path) -> None:
    """Makes the latest checkpoint one of two processes, as `TrainingRun.checkpoint` gathers it."""
    from alexnet_fast.training.checkpoint.format import save_checkpoint

    newest = sorted((run / "checkpoints").glob("epoch-*.pt"))[-1]
    content = {k: v for k, v in load_checkpoint(newest).items() if k not in ("format", "sha256")}
    content["training"]["per_rank"] *= 2
    save_checkpoint(newest, content)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (
            {"batch_size": 9, "grad_accum_steps": 2},
            "--batch-size 9 cannot be shared by 1 processes in 2 passes",
        ),
        ({"batch_size": 100}, "--batch-size 100 exceeds the 48 training images"),
        ({"processes": 2}, "train runs in each of several processes"),
    ],
)
def test_batches_that_cannot_be_shared(
    data: Path, tmp_path: Path, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=complaint):
        train(TrainConfig(**{**OPTIONS, "data": data, "run": tmp_path / "run", **options}))
    assert not (tmp_path / "run").exists()
