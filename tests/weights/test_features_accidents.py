"""Disks that are full or cannot be written while features are computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from alexnet_fast.cli.main import commands
from alexnet_fast.models import create_model
from alexnet_fast.pipelines.spec import AugmentSpec
from alexnet_fast.training.checkpoint.model_io import TrainedModel, save_weights
from small_disk import below, make_larger, make_read_only, refused, small_disk

Evidence = Callable[..., None]
NAMES = ["features.npy", "features.parquet", "files.csv"]
# Kibibytes: the first images, the last, the table beside them, and Parquet beside both.
SIZES = [4, 96, 188, 196, 204, 220]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer on 32 x 32 pixels: 3,072 values an image."""
    arguments = {"name": "linear", "num_classes": 2, "image_size": 32}
    net = create_model("linear", 2, image_size=32).eval()
    spec = AugmentSpec(resize=36, crop=32)
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save_weights(
        path, TrainedModel(net=net, arguments=arguments, classes=("a", "b"), spec=spec, provenance={})
    )
    return path


def words(model: Path, data: Path, out: Path) -> list[object]:
    """The command."""
    return ["features", model, data, out, "--no-dali", "--workers", "1", "--device", "cpu", "--parquet"]


def check_full_disks(model: Path, data: Path, directory: Path, sizes: list[int]) -> None:
    """All three files, or none; what was there before stays, and with room they are written."""
    pytest.importorskip("pyarrow")
    for size in sizes:
        with small_disk(directory / str(size), size + 4) as disk:
            (disk / "notes.txt").write_text("mine")
            refused(words(model, data, disk), "no space left on device; check the folder and the disk")
            assert below(disk) == {"notes.txt": b"mine"}
            make_larger(disk, 10_000)
            done = CliRunner().invoke(commands, [str(word) for word in words(model, data, disk)])
            assert done.exit_code == 0, done.output
            assert sorted(below(disk)) == sorted([*NAMES, "notes.txt"])


def test_a_full_disk(model: Path, two_classes: Path, tmp_path: Path) -> None:
    check_full_disks(model, two_classes, tmp_path, [204])


@pytest.mark.soak
def test_full_disks(model: Path, two_classes: Path, tmp_path: Path, evidence: Evidence) -> None:
    check_full_disks(model, two_classes, tmp_path, SIZES)
    count = len(SIZES)
    evidence("full disks while features are written, then room", n=count, clear=count, all_or_none=count)


def test_the_file_that_has_no_room_is_named(
    model: Path, two_classes: Path, tmp_path: Path, evidence: Evidence
) -> None:
    """And a disk that cannot be written is told apart."""
    with small_disk(tmp_path / "disk", 4) as disk:
        refused(
            words(model, two_classes, disk), f"cannot write {disk}/features.npy: no space left on device; "
        )
        make_read_only(disk)
        for out in (disk, disk / "new"):
            refused(words(model, two_classes, out), "read-only file system; check the folder and the disk")
    evidence("features on a disk that cannot be written", n=2, clear=2)
